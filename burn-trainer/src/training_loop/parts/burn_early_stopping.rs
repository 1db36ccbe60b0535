//! burn's early stopping, over all epochs of a run: after a resume it first sees the finished ones again.

use burn::train::CloneEarlyStoppingStrategy;
use burn::train::metric::store::EventStoreClient;

use crate::metrics::{RunMetrics, burn_epoch};
use crate::state::end_reason::EndReason;

/// The program's early stopping, if it has one.
pub(in crate::training_loop) struct BurnEarlyStopping {
    strategy: Option<Box<dyn CloneEarlyStoppingStrategy>>,
    has_stopped: bool,
}

impl BurnEarlyStopping {
    pub(in crate::training_loop) fn new(strategy: Option<Box<dyn CloneEarlyStoppingStrategy>>) -> Self {
        Self { strategy, has_stopped: false }
    }

    /// Whether it has ended the run, now or before a resume.
    pub(in crate::training_loop) fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// That it has ended the run: burn does not say why. `None` where it has not.
    pub(in crate::training_loop) fn reason(&self) -> Option<EndReason> {
        self.has_stopped.then(|| EndReason::EarlyStopping("a rule of the program".to_owned()))
    }

    /// Shows it the finished epochs of a resumed run once more, so that it has the state that it had then.
    /// `may_end` says after which of them it can end the run.
    pub(in crate::training_loop) fn replay(
        &mut self,
        epochs: u64,
        metrics: &RunMetrics,
        store: &EventStoreClient,
        may_end: impl Fn(u64) -> bool,
    ) {
        for epoch in 0..epochs {
            metrics.history.see_until(burn_epoch(epoch));
            self.has_stopped = self.should_stop(epoch, store) && may_end(epoch);
        }
    }

    /// Shows it an epoch that is done. Returns whether training stops now, which it does only where it
    /// `may_end`.
    pub(in crate::training_loop) fn stops_after(
        &mut self,
        epoch: u64,
        store: &EventStoreClient,
        may_end: bool,
    ) -> bool {
        self.has_stopped = self.should_stop(epoch, store) && may_end;
        if self.has_stopped {
            log::info!("stopped early after epoch {}", epoch + 1);
        }
        self.has_stopped
    }

    fn should_stop(&mut self, epoch: u64, store: &EventStoreClient) -> bool {
        self.strategy.as_mut().is_some_and(|strategy| strategy.should_stop(burn_epoch(epoch), store))
    }
}
