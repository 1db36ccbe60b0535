//! The metrics that one run shares between the logger's thread and the loop: the table and the history.

use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use indexmap::IndexMap;

use super::history::SharedHistory;
use super::table::SharedMetrics;

/// Clones share one table and one history.
#[derive(Debug, Default, Clone)]
pub(crate) struct RunMetrics {
    pub(crate) table: SharedMetrics,
    pub(crate) history: SharedHistory,
}

impl RunMetrics {
    /// The latest value of every metric.
    pub(crate) fn values(&self) -> IndexMap<String, f64> {
        self.table.lock().values().clone()
    }

    /// Waits until the table and the history have every value that burn's event processor has passed to the store.
    pub(crate) fn await_updates(store: &EventStoreClient) {
        // The store's thread answers in order. A question about a metric that does not exist is answered last.
        let _ = store.find_metric("", 0, Aggregate::Mean, &Split::Train);
    }

    /// Ends an epoch (burn's number) in the history, with the final values of its metrics.
    pub(crate) fn close_epoch(&self, epoch: usize, store: &EventStoreClient) {
        let values = self.table.values_of_epoch(epoch, store);
        self.history.close_epoch(values);
    }
}
