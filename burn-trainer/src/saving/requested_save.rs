//! A save that a strategy requests, and by which rules it is handed over.

use burn_ckpt::plumbing::WhenBusy;
use jiff::{SignedDuration, Timestamp};

/// What to do with a save while the writer's queue is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SaverSettings {
    pub(crate) when_busy: WhenBusy,
    pub(crate) max_waiting: usize,
}

/// A strategy's request to save the present state.
pub(crate) struct RequestedSave {
    /// Its position among the strategies.
    pub(super) strategy: usize,
    pub(super) score: f64,
    pub(super) reason: String,
    /// Whether it is wanted only if better states, which are being written, fail.
    pub(super) conditional: bool,
}

/// The timestamp of the next save: always after the one before, also when the clock is set back.
pub(super) fn after(newest: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let next = newest.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(1)).ok());
    next.map_or(now, |next| next.max(now))
}
