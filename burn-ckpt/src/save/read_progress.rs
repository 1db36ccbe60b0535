//! How far a state has been read from its device.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a state has been read from its device.
#[derive(Debug, Default)]
pub(crate) struct ReadProgress {
    active: AtomicBool,
    /// Number of reads, over all states.
    count: AtomicU64,
}

impl ReadProgress {
    /// Reading a state starts.
    pub(crate) fn start(&self) {
        self.active.store(true, Ordering::Relaxed);
        self.advance();
    }

    /// A part of the state has been read.
    pub(crate) fn advance(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether a state is being read.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// The whole state has been read. What remains of the save needs no device.
    pub(crate) fn finish(&self) {
        self.active.store(false, Ordering::Relaxed);
    }
}
