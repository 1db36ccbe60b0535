//! Saving: from a state that the training loop submits to a durable checkpoint.
//!
//! `request` (one state to save) -> `writer` (the loop's side) -> `queue` -> `writer_thread` -> `persist`
//! (the steps of one save) -> `container` (a state as files). `urgency` says when a save gives way to the
//! loop.

pub(crate) mod activity;
pub(crate) mod container;
pub(crate) mod copy_checkpoint;
mod low_priority;
pub(crate) mod persist;
pub(crate) mod queue;
pub(crate) mod read_progress;
pub(crate) mod request;
pub(crate) mod urgency;
pub(crate) mod writer;
mod writer_thread;
