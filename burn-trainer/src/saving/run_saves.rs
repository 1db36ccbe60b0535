//! Saving in one call of `fit` or `fit_with`: the saver, which opens once the metrics' names are known, and
//! the settings by which the loop waits for it.

use std::time::Duration;

use burn::train::Interrupter;
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::{IndexMap, IndexSet};

use super::checkpoint_events::CheckpointEvents;
use super::save_summary::SaveSummary;
use super::saver::Saver;
use crate::config::{FailedSaves, TrainerConfig};
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::metrics::{MetricsOf, SharedMetrics};
use crate::process::signals::SignalDeadline;

/// Makes the [`OpenedSaver`] once the metrics' names are known.
pub(crate) type OpenSaver = Box<dyn FnOnce(&SharedMetrics) -> Result<OpenedSaver> + Send>;

/// A saver, and the metrics that must be logged, by their full names.
pub(crate) struct OpenedSaver {
    pub(crate) saver: Saver,
    pub(crate) needed_metrics: IndexMap<String, NeededBy>,
}

/// What needs a metric: the first that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededBy {
    /// The setting, or the callback.
    pub(crate) setting: String,
    /// Whether a strategy ranks or names checkpoints by it.
    pub(crate) is_strategy: bool,
}

/// The saves of one call of `fit` or `fit_with`.
pub(crate) struct RunSaves {
    /// `None` once it was called.
    open_saver: Option<OpenSaver>,
    /// `None` before it is open, and after the end.
    saver: Option<Saver>,
    /// Metrics that must be logged.
    needed_metrics: IndexMap<String, NeededBy>,
    /// Those of them that no split has been seen to log yet. Each must be logged when its split first runs.
    unchecked_metrics: IndexMap<String, NeededBy>,
    /// The validation data, if its loader says before training how large it is.
    valid_size: Option<LoaderSize>,
    failed_saves: FailedSaves,
    /// How long the save of a failure, or of a stop by a signal, may take.
    exception_timeout: Duration,
}

impl RunSaves {
    pub(crate) fn new(open_saver: OpenSaver, config: &TrainerConfig, valid_size: Option<LoaderSize>) -> Self {
        Self {
            open_saver: Some(open_saver),
            saver: None,
            needed_metrics: IndexMap::new(),
            unchecked_metrics: IndexMap::new(),
            valid_size,
            failed_saves: config.failed_saves,
            exception_timeout: config.exception_timeout(),
        }
    }

    /// Starts saving. Later calls do nothing.
    ///
    /// # Errors
    ///
    /// For a name that no metric has, for strategies or files that cannot be used, and for a metric of a
    /// validation that will have no batch.
    pub(crate) fn open(&mut self, metrics: &SharedMetrics) -> Result<()> {
        let Some(open_saver) = self.open_saver.take() else { return Ok(()) };
        let OpenedSaver { saver, needed_metrics } = open_saver(metrics)?;
        (self.unchecked_metrics, self.needed_metrics) = (needed_metrics.clone(), needed_metrics);
        if let Some(reason) = self.valid_size.and_then(LoaderSize::without_batches) {
            let table = metrics.lock();
            self.check_validated(|name| table.is_of(name, MetricsOf::Set(None)), &reason)?;
        }
        self.saver = Some(saver);
        Ok(())
    }

    /// Checks that nothing needs one of the metrics of a validation that has given no batch, for this reason.
    ///
    /// # Errors
    ///
    /// [`Error::NoBatch`] when something does.
    pub(crate) fn check_validated(&self, is_meant: impl Fn(&str) -> bool, reason: &str) -> Result<()> {
        match self.needed_metrics.iter().find(|(name, _)| is_meant(name)) {
            Some((name, NeededBy { setting, .. })) => {
                Err(Error::no_batch("validation", format!("{reason}. {setting} names the metric {name}")))
            }
            None => Ok(()),
        }
    }

    /// The saver, while saving is on.
    pub(crate) fn saver(&mut self) -> Option<&mut Saver> {
        self.saver.as_mut()
    }

    /// How long the save of a failure, or of a stop by a signal, may take.
    pub(crate) fn exception_timeout(&self) -> Duration {
        self.exception_timeout
    }

    /// How long the loop may wait for a save now.
    pub(crate) fn deadline(&self, interrupter: &Interrupter) -> SignalDeadline {
        SignalDeadline::new(interrupter.clone(), self.exception_timeout)
    }

    /// Notes the saves that have ended.
    ///
    /// # Errors
    ///
    /// [`Error::SaveFailed`] for a failed save, where the configuration stops training for it.
    pub(crate) fn collect(&mut self) -> Result<()> {
        self.saver.as_mut().map_or(Ok(()), |saver| saver.collect(self.failed_saves))
    }

    /// What the writer has done since the last call.
    pub(crate) fn take_events(&mut self) -> CheckpointEvents {
        self.saver.as_mut().map(Saver::take_events).unwrap_or_default()
    }

    /// Whether one of these metrics is needed, and was not checked yet.
    pub(crate) fn needs_metric(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.unchecked_metrics.keys().any(|name| is_meant(name))
    }

    /// The first of them that a strategy needs.
    pub(crate) fn needed_by_strategy(&self, is_meant: impl Fn(&str) -> bool) -> Option<&String> {
        of_strategy(&self.unchecked_metrics, is_meant)
    }

    /// The first of these metrics that a strategy needs, checked or not.
    pub(crate) fn metric_of_strategy(&self, is_meant: impl Fn(&str) -> bool) -> Option<&String> {
        of_strategy(&self.needed_metrics, is_meant)
    }

    /// Checks that those of these metrics are logged which are needed. A strategy would otherwise never save,
    /// or rank by a value from before a resume, in silence.
    ///
    /// # Errors
    ///
    /// [`Error::MetricNotLogged`] for the first one that is missing.
    pub(crate) fn check_logged(
        &self,
        is_meant: impl Fn(&str) -> bool,
        logged: &IndexSet<String>,
    ) -> Result<()> {
        let mut metrics = self.unchecked_metrics.iter().filter(|(name, _)| is_meant(name));
        match metrics.find(|(name, _)| !logged.contains(*name)) {
            Some((name, NeededBy { setting, .. })) => {
                let logged = logged.iter().cloned().collect();
                Err(Error::MetricNotLogged { setting: setting.clone(), name: name.clone(), logged })
            }
            None => Ok(()),
        }
    }

    /// These metrics are logged, and need not be checked again.
    pub(crate) fn forget_metrics(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.unchecked_metrics.retain(|name, _| !is_meant(name));
    }

    /// Waits for what is being written, with a limit if one is given. Returns what became of the saves, and
    /// the leading checkpoint of every strategy.
    pub(crate) fn finish(
        &mut self,
        limit: Option<Duration>,
    ) -> (SaveSummary, IndexMap<String, SavedCheckpoint>) {
        self.saver.take().map_or_else(Default::default, |saver| saver.finish(limit))
    }
}

fn of_strategy(metrics: &IndexMap<String, NeededBy>, is_meant: impl Fn(&str) -> bool) -> Option<&String> {
    metrics.iter().find(|(name, by)| by.is_strategy && is_meant(name)).map(|(name, _)| name)
}
