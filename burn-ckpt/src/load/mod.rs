//! The way up: from a path to a model.
//!
//! `loader` (a path, and what is to be changed) -> `checkpoint` (the header) -> `hparams` -> `apply_weights` (which tensor is which
//! parameter) -> `prefetch` -> `checked_tensors` (each compared with its digest) -> `report`; `verify` reads the whole file.

pub(crate) mod apply_weights;
pub(crate) mod burnpack_record;
pub(crate) mod checked_tensors;
pub(crate) mod checkpoint;
pub(crate) mod hparams;
pub(crate) mod loader;
pub(crate) mod options;
pub(crate) mod prefetch;
pub(crate) mod report;
pub(crate) mod verify;
