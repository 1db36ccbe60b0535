//! The metrics that one run shares between the logger's thread and the loop: the table and the history.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;

use super::epoch_values::SharedValues;
use super::history::{HistoryAt, STEP, SharedHistory, VALIDATED_STEP};
use super::history_format::EpochValues;
use super::metrics_log::{LogPosition, MetricsLog};
use super::table::{SharedMetrics, is_of_validation};
use crate::process::progress::epochs_table::EarlierValue;
use crate::validation_sets::ValidationSets;

/// How long the end of burn's store is waited for where a panic shows that it has panicked.
const STORE_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(1);
/// A name that no metric has. Loggers of the user are asked for it.
const NO_METRIC: &str = "(burn_trainer waits)";
/// Another one: the run's logger is asked for it when the values of an epoch are needed.
pub(super) const END_OF_EPOCH: &str = "(burn_trainer ends an epoch)";
/// What burn says in place of a logger's own message ("Event store thread crashed", "Can send event to event
/// store thread").
const STORE_PANIC: &str = "vent store thread";

/// Clones share one table and one history.
#[derive(Debug, Default, Clone)]
pub(crate) struct RunMetrics {
    pub(crate) table: SharedMetrics,
    pub(crate) history: SharedHistory,
    pub(crate) log: MetricsLog,
    pub(crate) sets: ValidationSets,
    /// The values of the epochs that are not in the history yet.
    pub(super) logged: SharedValues,
    /// The message of the panic that ended the thread of burn's event store, on which all metric loggers run.
    pub(super) store_panic: Arc<OnceLock<String>>,
}

impl RunMetrics {
    /// The metrics of a run with these validation sets.
    pub(crate) fn with_sets(sets: ValidationSets) -> Self {
        Self { sets, ..Self::default() }
    }

    /// The latest value of every metric.
    pub(crate) fn values(&self) -> IndexMap<String, f64> {
        self.table.lock().values().clone()
    }

    /// The same, but for a validation that is under way: those of the one before.
    pub(crate) fn whole_values(&self) -> IndexMap<String, f64> {
        self.table.lock().whole_values()
    }

    /// In which direction each metric with a value is better, by its attributes in burn.
    pub(crate) fn directions(&self) -> IndexMap<String, MetricMode> {
        self.table.lock().directions()
    }

    /// A validation begins: its lines take the place of those of the one before in the epoch. `is_within`:
    /// the epoch's training is not done, so that a resumed run needs the lines.
    pub(crate) fn begin_validation(&self, is_within: bool) {
        self.table.lock().begin_validation();
        self.log.write();
        self.history.begin_validation(is_within);
    }

    /// The validation of the state at a position is done, and its values are in the table. `is_listed`: the
    /// epoch can have several, so that its values are noted as those of this step.
    pub(crate) fn end_validation(&self, position: LogPosition, is_listed: bool, store: &EventStoreClient) {
        let values = self.table.lock().validation_values();
        self.log.log_validation(position, values.clone());
        let step = std::iter::once((STEP.to_owned(), position.step as f64));
        let row = is_listed.then(|| step.chain(values).collect());
        self.history.end_validation(burn_epoch(position.epoch), row);
        self.table.lock().end_validation();
        // The logger writes the row now.
        Self::await_updates(store);
    }

    /// The message of a panic that has ended training. If it only says that burn's event store is gone, it is
    /// that of the logger which panicked there.
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

    /// The values of an epoch (burn's number) that is done.
    pub(super) fn values_of_done(&self, epoch: usize) -> Vec<EarlierValue> {
        let metrics = self.table.lock().numeric();
        let values = metrics.into_iter().filter_map(|metric| {
            let value = self.history.value(&metric.full_name, epoch)?;
            Some(EarlierValue { metric: metric.id, is_training: matches!(metric.split, Split::Train), value })
        });
        values.collect()
    }

    /// Waits until the table and the history have every value that burn's event processor has passed to the
    /// store.
    pub(crate) fn await_updates(store: &EventStoreClient) {
        // The store's thread answers in order. A question about a metric that does not exist is answered
        // last.
        let _ = store.find_metric(NO_METRIC, 1, Aggregate::Mean, &Split::Train);
    }

    /// The history at a position, with the first `updates` updates of its epoch, and its validations up to a
    /// step.
    pub(crate) fn history_at(
        &self,
        position: LogPosition,
        updates: u64,
        validated: Option<u64>,
    ) -> HistoryAt {
        self.history.at(updates, validated).logged(self.log.has_all_until(position))
    }

    /// Ends the epoch of a position, with the final values of its metrics. `validated` is the step of its
    /// last validation.
    pub(crate) fn close_epoch(
        &self,
        position: LogPosition,
        validated: Option<u64>,
        store: &EventStoreClient,
    ) {
        let values = self.values_of_epoch(burn_epoch(position.epoch), store);
        self.close(position, validated, values);
    }

    /// The same in a loop that is not the trainer's: it validates at the end of each epoch, and does not tell
    /// of it.
    pub(crate) fn close_validated_epoch(&self, position: LogPosition, store: &EventStoreClient) {
        let values = self.values_of_epoch(burn_epoch(position.epoch), store);
        self.log.log_validation(position, values_of(&values, is_of_validation));
        self.close(position, Some(position.step), values);
    }

    /// The values of an epoch (burn's number) that is done. burn's store would keep each answer until the run
    /// ends.
    fn values_of_epoch(&self, epoch: usize, store: &EventStoreClient) -> EpochValues {
        let _ = store.find_metric(END_OF_EPOCH, epoch, Aggregate::Mean, &Split::Train);
        let numeric = self.table.lock().numeric();
        let logged = self.logged.lock();
        let values = numeric.into_iter().filter_map(|metric| {
            let value = logged.value(&metric.id, epoch, &metric.split)?;
            Some((metric.full_name, value))
        });
        values.collect()
    }

    fn close(&self, position: LogPosition, validated: Option<u64>, mut values: EpochValues) {
        let train = values_of(&values, |name| !is_of_validation(name));
        self.log.log_epoch(position.epoch, position.step, train);
        values.insert(STEP.to_owned(), position.step as f64);
        if let Some(step) = validated {
            values.insert(VALIDATED_STEP.to_owned(), step as f64);
        }
        self.history.close_epoch(values);
    }
}

fn values_of(values: &EpochValues, is_wanted: impl Fn(&str) -> bool) -> EpochValues {
    let wanted = values.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, value)| (name.clone(), *value)).collect()
}

/// burn's number of an epoch: burn counts from 1.
pub(crate) fn burn_epoch(epoch: u64) -> usize {
    usize::try_from(epoch.saturating_add(1)).unwrap_or(usize::MAX)
}
