//! What a run is and how it ended, for callbacks.

use std::path::PathBuf;
use std::sync::Arc;

use burn_ckpt::metrics_log::{self, Line, LogMark, METRICS_FILE};
use burn_ckpt::retention::SavedCheckpoint;
use burn_environment::EnvironmentProbe;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::metrics::HistoryLines;
use crate::state::end_reason::RunOutcome;

/// What a run is: its names, its settings, and where it began.
/// [`CallbackContext::run`](crate::callbacks::CallbackContext::run) gives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunInfo {
    /// The run's id.
    pub run_id: String,
    /// The run's directory.
    pub run_dir: PathBuf,
    /// A human's name for the run.
    pub name: Option<String>,
    /// The project that the run belongs to.
    pub project: Option<String>,
    /// The tags that the run was started with.
    pub tags: Vec<String>,
    /// What the run is for.
    pub notes: Option<String>,
    /// The hyperparameters, as they stand in every checkpoint.
    pub hparams: Value,
    /// The trainer's configuration, as it stands in every checkpoint.
    pub trainer_config: Value,
    /// When the run started, possibly in an earlier process.
    pub start: Timestamp,
    /// The checkpoint that this process has resumed from. `None` in a new run.
    pub resumed_from: Option<PathBuf>,
    /// Whether this process writes the run's files. Of the processes of a launcher, that of rank 0 does.
    pub writes: bool,
    /// Whether this is a fast dev run, which leaves nothing.
    pub is_fast_dev_run: bool,
    pub(crate) environment: Arc<EnvironmentProbe>,
    /// The lines of the log that the checkpoint counts.
    pub(crate) counted: Option<LogMark>,
    /// The lines of the history, where the log is written again from it.
    pub(crate) written_again: Option<Arc<HistoryLines>>,
}

impl RunInfo {
    /// What the run is made on: machine, software, repository, scheduler. As it stands in every checkpoint.
    /// The first call waits for it, up to 10 seconds where a driver does not answer.
    #[must_use]
    pub fn environment(&self) -> Value {
        serde_json::to_value(self.environment.get()).unwrap_or_default()
    }

    /// The lines of `metrics.jsonl` from before this process resumed the run: those that the checkpoint
    /// counts. Where the log is written again from the checkpoint's history, those of the history; its lines
    /// of the epoch in progress are known when the first new one is logged. None in a run from the beginning.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn logged_before(&self) -> burn_ckpt::Result<impl Iterator<Item = burn_ckpt::Result<Line>> + use<>> {
        let path = self.run_dir.join(METRICS_FILE);
        let mark = self.counted.as_ref();
        let is_in = |mark: &LogMark| mark.is_in(&path).map_err(burn_ckpt::Error::io("read", &path));
        let again = self.written_again.as_ref().map(|history| history.lines().into_iter().map(Ok));
        let lines = match mark {
            Some(mark) if again.is_none() && is_in(mark)? => Some(metrics_log::read(&path)?.until(mark)),
            _ => None,
        };
        Ok(again.into_iter().flatten().chain(lines.into_iter().flatten()))
    }
}

/// How a run ended. [`CallbackContext::ended`](crate::callbacks::CallbackContext::ended) gives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunEnd {
    /// Whether it is done, was stopped, or failed.
    pub outcome: RunOutcome,
    /// The number of epochs done.
    pub epochs: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The leading checkpoint of each strategy, by the strategy's name (`best:val_loss`, `last`).
    pub checkpoints: IndexMap<String, SavedCheckpoint>,
    /// The metric that "best" refers to.
    pub(crate) best_metric: Option<String>,
}

impl RunEnd {
    /// The best checkpoint, as [`FitResult::best`](crate::FitResult::best) has it.
    #[must_use]
    pub fn best(&self) -> Option<&SavedCheckpoint> {
        best_of(&self.checkpoints, self.best_metric.as_deref())
    }

    /// The newest checkpoint, as [`FitResult::last`](crate::FitResult::last) has it.
    #[must_use]
    pub fn last(&self) -> Option<&SavedCheckpoint> {
        last_of(&self.checkpoints)
    }
}

/// Of the leading checkpoints of strategies, that of the metric, or of the first strategy that ranks.
pub(crate) fn best_of<'a>(
    checkpoints: &'a IndexMap<String, SavedCheckpoint>,
    metric: Option<&str>,
) -> Option<&'a SavedCheckpoint> {
    let ranked = || {
        let of = checkpoints.iter().map(|(name, leading)| (name.strip_prefix("best:"), leading));
        of.filter_map(|(name, leading)| Some((name?, leading)))
    };
    // A strategy with a directory of its own has that behind the metric.
    let is_meant = |of: &str| of.split(':').next() == metric;
    ranked().find(|(of, _)| is_meant(of)).or_else(|| ranked().next()).map(|(_, leading)| leading)
}

/// Of the leading checkpoints of strategies, that of the first last-strategy.
pub(crate) fn last_of(checkpoints: &IndexMap<String, SavedCheckpoint>) -> Option<&SavedCheckpoint> {
    let mut all = checkpoints.iter();
    all.find(|(name, _)| *name == "last" || name.starts_with("last:")).map(|(_, leading)| leading)
}
