//! Loading: from a path to a model.
//!
//! `loader` (a path, and what to change) -> `checkpoint` (the header) -> `hparams` -> `match_tensors` (which
//! tensor is for which parameter; `float_types` compares their types) -> `apply_weights` -> `prefetch` ->
//! `checked_tensors` (each compared with its digest) -> `report`. `verify` reads the whole file.
//! `validated_part` says whether the metrics are those of an average.

pub(crate) mod apply_weights;
pub(crate) mod burnpack_record;
pub(crate) mod checked_tensors;
pub(crate) mod checkpoint;
mod float_types;
pub(crate) mod loader;
mod match_tensors;
mod opening;
pub(crate) mod options;
pub(crate) mod prefetch;
pub(crate) mod report;
mod validated_part;
pub(crate) mod verify;
