//! The way down: from a state that the loop hands over to a durable checkpoint.
//!
//! `request` (what is asked) -> `queue` -> `writer_thread` -> `persist` (the steps of one save) -> `stream_container` (one pass
//! over the bytes).

pub(crate) mod activity;
pub(crate) mod low_priority;
pub(crate) mod persist;
pub(crate) mod queue;
pub(crate) mod read_progress;
pub(crate) mod request;
pub(crate) mod stream_container;
pub(crate) mod writer_thread;
