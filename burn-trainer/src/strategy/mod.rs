//! When to save: small, pure deciders. What stays is decided by [`KeepRule`].
//!
//! A strategy sees every [`TrainingEvent`] with the [`RunProgress`] of the moment and answers with a
//! [`SaveDecision`]. It names the directory its checkpoints go to, the rule by which they stay, and the link
//! to the best (or newest) one.

#[macro_use]
mod file_settings;

mod best;
mod fast_dev_run;
mod last;
mod metric_config;
mod on_exception;

pub use best::{Best, BestStrategy};
pub(crate) use fast_dev_run::{FAST_DEV_RUN, directory_within, of_fast_dev_run};
pub use last::{Interval, Last, LastStrategy};
pub use metric_config::MetricConfig;
pub(crate) use on_exception::{DEFAULT_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS};
pub use on_exception::{OnException, OnExceptionStrategy};

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use burn_ckpt::retention::{Candidate, KeepRule, MetricMode, TopK};
use serde::{Deserialize, Serialize};

pub use crate::state::event::{RunProgress, TrainingEvent};

/// Whether a strategy wants a checkpoint at an event. [`Strategy`] has an example.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SaveDecision {
    /// No.
    Skip,
    /// Yes, if a checkpoint with this score would stay by the strategy's rule.
    Save {
        /// What the checkpoint is ranked by; NaN where the rule looks at time only.
        score: f64,
        /// Goes into the metadata: `best`, `last`, `exception: ..`.
        reason: String,
    },
    /// Only if no other strategy saves the state in a form that can be resumed.
    SaveUnlessOthers {
        /// As for `Save`.
        reason: String,
    },
}

/// Where a strategy's checkpoints go and what is in them. [`Strategy`] has an example.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckpointOutput {
    /// Their directory: relative to the run's `checkpoint` directory, or absolute.
    pub directory: PathBuf,
    /// The template of their names, without ending; `None` for the time in UTC.
    pub filename: Option<String>,
    /// The link to the foremost one, without ending (`last`, `best_val_loss`); `None` for no link.
    pub link: Option<String>,
    /// Leave out optimizer and scheduler.
    pub weights_only: bool,
}

impl CheckpointOutput {
    /// Checkpoints with the whole state in a directory, named by the time, without a link.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), filename: None, link: None, weights_only: false }
    }

    /// Sets the template of the file names, without ending.
    #[must_use]
    pub fn with_filename(mut self, filename: impl Into<String>) -> Self {
        self.filename = Some(filename.into());
        self
    }

    /// Sets the name of a link to the best (or newest) checkpoint, without ending.
    #[must_use]
    pub fn with_link(mut self, link: impl Into<String>) -> Self {
        self.link = Some(link.into());
        self
    }

    /// Sets whether optimizer and scheduler are left out.
    #[must_use]
    pub fn with_weights_only(mut self, weights_only: bool) -> Self {
        self.weights_only = weights_only;
        self
    }
}

/// Decides at which events a checkpoint is saved. Implement it for a rule of your own and give it to
/// [`Trainer::strategy`](crate::Trainer::strategy).
///
/// ```
/// use burn_trainer::strategy::{
///     CheckpointOutput, KeepRule, RunProgress, SaveDecision, Strategy, TopK, TrainingEvent,
/// };
///
/// /// Keeps the weights of every tenth epoch.
/// struct EveryTenthEpoch;
///
/// impl Strategy for EveryTenthEpoch {
///     fn name(&self) -> String {
///         "every_tenth_epoch".to_owned()
///     }
///
///     fn keep(&self) -> KeepRule {
///         KeepRule::Newest(TopK::All)
///     }
///
///     fn output(&self) -> CheckpointOutput {
///         CheckpointOutput::new("every_tenth_epoch").with_filename("epoch={epoch}").with_weights_only(true)
///     }
///
///     fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
///         match event {
///             TrainingEvent::EpochEnd if (progress.epoch + 1).is_multiple_of(10) => {
///                 SaveDecision::Save { score: f64::NAN, reason: "every tenth epoch".to_owned() }
///             }
///             _ => SaveDecision::Skip,
///         }
///     }
/// }
/// ```
pub trait Strategy: Send {
    /// A name that no other strategy of the run has. A strategy whose name begins with `best:` and a metric's
    /// full name counts for [`FitResult::best`](crate::FitResult::best), and one named `last` for
    /// [`FitResult::last`](crate::FitResult::last).
    fn name(&self) -> String;

    /// The rule by which its checkpoints stay.
    fn keep(&self) -> KeepRule;

    /// Where its checkpoints go.
    fn output(&self) -> CheckpointOutput;

    /// The run resumes: `newest` is the training time at which the newest checkpoint of this strategy was
    /// saved, if it has one. Does nothing by default.
    fn resume(&mut self, newest: Option<Duration>) {
        let _ = newest;
    }

    /// Whether this event is worth a checkpoint.
    ///
    /// [`RunProgress::metrics`] has the metrics of the event, and at a step waits for them. A strategy that
    /// panics is not called again: what the others save at the event is saved, the run ends with
    /// [`Error::Panicked`](crate::Error::Panicked), which has the strategy's name and the panic's message,
    /// and the state is saved as after any failure.
    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision;
}

/// For a list that a program chooses by its configuration.
impl Strategy for Box<dyn Strategy> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn keep(&self) -> KeepRule {
        (**self).keep()
    }

    fn output(&self) -> CheckpointOutput {
        (**self).output()
    }

    fn resume(&mut self, newest: Option<Duration>) {
        (**self).resume(newest);
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        (**self).decide(event, progress)
    }
}

/// A strategy as it stands in the configuration: `{"kind": "best", "metric": "val_loss", "topk": 3}`.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::strategy::{Last, StrategyConfig};
///
/// let only_last = TrainerConfig::new().with_strategies([StrategyConfig::Last(Last::new().with_topk(2))]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StrategyConfig {
    /// Keep the checkpoints with the best values of a metric.
    Best(Best),
    /// Keep the newest checkpoints.
    Last(Last),
    /// Save the state when training fails.
    OnException(OnException),
}

/// Two strategies of a kind are told apart by their directories.
fn named(kind: &str, dirpath: Option<&Path>) -> String {
    dirpath.map_or(kind.to_owned(), |directory| format!("{kind}:{}", directory.display()))
}
