//! burn's early stopping, over all epochs of a run: after a resume it first sees the finished ones again.

use burn::train::CloneEarlyStoppingStrategy;
use burn::train::metric::store::EventStoreClient;

use crate::metrics::RunMetrics;
use crate::state::position::burn_epoch;

/// The program's early stopping, if it has one.
pub(super) struct EarlyStopping {
    strategy: Option<Box<dyn CloneEarlyStoppingStrategy>>,
    has_stopped: bool,
}

impl EarlyStopping {
    pub(super) fn new(strategy: Option<Box<dyn CloneEarlyStoppingStrategy>>) -> Self {
        Self { strategy, has_stopped: false }
    }

    /// Whether it has ended the run, now or before a resume.
    pub(super) fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Shows it the finished epochs of a resumed run once more, so that it has the state that it had then.
    pub(super) fn replay(&mut self, epochs: u64, metrics: &RunMetrics, store: &EventStoreClient) {
        for epoch in 0..epochs {
            metrics.history.see_until(burn_epoch(epoch));
            self.has_stopped = self.should_stop(epoch, store);
        }
    }

    /// Shows it an epoch that is done. Returns whether training stops now.
    pub(super) fn stops_after(&mut self, epoch: u64, store: &EventStoreClient) -> bool {
        self.has_stopped = self.should_stop(epoch, store);
        if self.has_stopped {
            log::info!("stopped early after epoch {epoch}");
        }
        self.has_stopped
    }

    fn should_stop(&mut self, epoch: u64, store: &EventStoreClient) -> bool {
        self.strategy.as_mut().is_some_and(|strategy| strategy.should_stop(burn_epoch(epoch), store))
    }
}
