//! From an event to a save that is handed to `burn-ckpt`'s writer: who wants it, and a copy of the learner.

pub(crate) mod keep_alive;
pub(crate) mod optimizer_probe;
pub(crate) mod record_capture;
pub(crate) mod run_checkpoints;
pub(crate) mod saver;
pub(crate) mod snapshot;
