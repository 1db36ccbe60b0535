//! The ledger of a run that saves on another thread.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::retention::ledger::Ledger;

/// A [`Ledger`] that the training loop and the writer's thread share.
#[derive(Debug, Clone)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// Locks the ledger while the guard lives. Keep that short: the writer's thread may be waiting for it.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock()
    }
}
