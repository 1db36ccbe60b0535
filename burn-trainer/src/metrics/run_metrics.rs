//! The metrics that one run shares between the logger's thread and the loop: the table and the history.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use indexmap::IndexMap;

use super::history::{STEP, SharedHistory};
use super::table::SharedMetrics;

/// How long the end of burn's store is waited for where a panic shows that it has panicked.
const STORE_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(1);
/// A name that no metric has. Loggers of the user are asked for it.
const NO_METRIC: &str = "(burn_trainer waits)";
/// What burn says in place of a logger's own message ("Event store thread crashed", "Can send event to event store thread").
const STORE_PANIC: &str = "vent store thread";

/// Clones share one table and one history.
#[derive(Debug, Default, Clone)]
pub(crate) struct RunMetrics {
    pub(crate) table: SharedMetrics,
    pub(crate) history: SharedHistory,
    /// The message of the panic that ended the thread of burn's event store, on which all metric loggers run.
    pub(super) store_panic: Arc<OnceLock<String>>,
}

impl RunMetrics {
    /// The latest value of every metric.
    pub(crate) fn values(&self) -> IndexMap<String, f64> {
        self.table.lock().values().clone()
    }

    /// The same, but for a validation that is under way: those of the one before.
    pub(crate) fn whole_values(&self) -> IndexMap<String, f64> {
        self.table.lock().whole_values()
    }

    /// A validation begins: its lines take the place of those of the one before in the epoch. `is_within`: the epoch's training
    /// is not done, so that a resumed run needs the lines.
    pub(crate) fn begin_validation(&self, is_within: bool) {
        self.table.lock().begin_validation();
        self.history.begin_validation(is_within);
    }

    /// It is done, and its values are in the table. With a `step`, they are noted as those of this step in the epoch (burn's
    /// number).
    pub(crate) fn end_validation(&self, epoch: usize, step: Option<u64>, store: &EventStoreClient) {
        let row = step.map(|step| {
            let step = std::iter::once((STEP.to_owned(), step as f64));
            step.chain(self.table.lock().validation_values()).collect()
        });
        self.history.end_validation(epoch, row);
        self.table.lock().end_validation();
        // The logger writes the row now.
        Self::await_updates(store);
    }

    /// The message of a panic that has ended training. If it only says that burn's event store is gone, it is that of the
    /// logger which panicked there.
    pub(crate) fn own_message(&self, message: String) -> String {
        let since = Instant::now();
        while message.contains(STORE_PANIC)
            && self.store_panic.get().is_none()
            && since.elapsed() < STORE_LIMIT
        {
            std::thread::sleep(POLL);
        }
        match self.store_panic.get() {
            Some(own) if message.contains(STORE_PANIC) => own.clone(),
            _ => message,
        }
    }

    /// Waits until the table and the history have every value that burn's event processor has passed to the store.
    pub(crate) fn await_updates(store: &EventStoreClient) {
        // The store's thread answers in order. A question about a metric that does not exist is answered last.
        let _ = store.find_metric(NO_METRIC, 1, Aggregate::Mean, &Split::Train);
    }

    /// Ends an epoch (burn's number) in the history, with the final values of its metrics.
    pub(crate) fn close_epoch(&self, epoch: usize, store: &EventStoreClient) {
        let values = self.table.values_of_epoch(epoch, store);
        self.history.close_epoch(values);
    }
}
