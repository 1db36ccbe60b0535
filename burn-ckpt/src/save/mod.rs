//! Saving: from a state that the training loop submits to a durable checkpoint.
//!
//! `request` (one state to save) -> `queue` -> `writer_thread` -> `persist` (the steps of one save) -> `write_header` and
//! `stream_container` (one pass over the bytes). Between saves `verify_earlier` reads the checkpoints of earlier starts.

pub(crate) mod activity;
mod apply_retention;
pub(crate) mod encode_header;
mod low_priority;
pub(crate) mod persist;
pub(crate) mod queue;
pub(crate) mod read_progress;
pub(crate) mod request;
pub(crate) mod stream_container;
mod verify_earlier;
mod write_header;
pub(crate) mod writer_thread;
