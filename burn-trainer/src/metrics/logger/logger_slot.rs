//! The run's metric logger in the first place among burn's.
//!
//! burn asks its loggers in the order in which they were registered, and takes the first answer. A user's
//! logger that answers with nothing would switch off early stopping and the run's history. So
//! `Trainer::training` registers a slot before the user can, and the run's logger is put there when the run
//! is prepared.

use std::sync::{Arc, OnceLock};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use parking_lot::Mutex;

use super::RunMetricLogger;
use crate::metrics::run_metrics::RunMetrics;
use crate::process::progress::epochs_table::EarlierValue;
use crate::process::run_output::OutputHandle;

/// The slot. Clones share it. Of several loggers with one slot, burn's first one takes what is put there.
#[derive(Clone, Default)]
pub(crate) struct LoggerSlot {
    logger: Arc<Mutex<Option<(RunMetricLogger, OutputHandle)>>>,
    /// Those of the logger.
    metrics: Arc<OnceLock<RunMetrics>>,
}

impl LoggerSlot {
    /// With the output of its run.
    pub(crate) fn put(&self, logger: RunMetricLogger, output: OutputHandle) {
        let _ = self.metrics.set(logger.metrics.clone());
        *self.logger.lock() = Some((logger, output));
    }

    /// The values of an epoch (burn's number) that is done.
    pub(crate) fn values_of_done(&self, epoch: usize) -> Vec<EarlierValue> {
        self.metrics.get().map_or_else(Vec::new, |metrics| metrics.values_of_done(epoch))
    }

    /// The logger to register.
    pub(crate) fn logger(&self) -> SlotLogger {
        SlotLogger { slot: self.clone(), logger: None }
    }
}

/// What burn has: it takes the logger from its slot when it is first used.
pub(crate) struct SlotLogger {
    slot: LoggerSlot,
    logger: Option<(RunMetricLogger, OutputHandle)>,
}

impl SlotLogger {
    fn own(&mut self) -> Option<&mut RunMetricLogger> {
        if self.logger.is_none() {
            self.logger = self.slot.logger.lock().take();
        }
        let (logger, output) = self.logger.as_mut()?;
        // The thread is burn's.
        output.set_for_thread();
        Some(logger)
    }
}

impl MetricLogger for SlotLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if let Some(logger) = self.own() {
            logger.log(update, epoch, split);
        }
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        match self.own() {
            Some(logger) => logger.read_numeric(name, epoch, split),
            None => Err("the training was not given to its trainer".to_owned()),
        }
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        if let Some(logger) = self.own() {
            logger.log_metric_definition(definition);
        }
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if let Some(logger) = self.own() {
            logger.log_epoch_summary(summary);
        }
    }
}
