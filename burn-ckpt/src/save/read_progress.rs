//! How far a state has been read from its device.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a state has been read from its device.
#[derive(Debug, Default)]
pub(crate) struct ReadProgress {
    under_way: AtomicBool,
    /// Grows with everything that was read.
    read: AtomicU64,
}

impl ReadProgress {
    pub(crate) fn begins(&self) {
        self.under_way.store(true, Ordering::Relaxed);
        self.gets_on();
    }

    pub(crate) fn gets_on(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_so_far(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// All is read: whatever is left needs no device.
    pub(crate) fn ends(&self) {
        self.under_way.store(false, Ordering::Relaxed);
    }
}
