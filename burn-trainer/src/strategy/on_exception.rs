//! On exception: the state before a panic or an error. Also the state of a stop, such as a signal's, where no
//! other strategy saves it.

use std::path::PathBuf;

use burn_ckpt::plumbing::ON_EXCEPTION_DIR;
use burn_ckpt::retention::{KeepRule, TopK};
use serde::{Deserialize, Serialize};

use super::{CheckpointOutput, SaveDecision, Strategy, named};
use crate::state::event::{RunProgress, TrainingEvent};

/// How long an exception's save may take unless configured otherwise, in seconds.
pub(crate) const DEFAULT_TIMEOUT_SECONDS: f64 = 120.0;
/// The longest that may be configured: a year.
pub(crate) const MAX_TIMEOUT_SECONDS: f64 = 31_536_000.0;

/// How the state before a failure is saved: see [`OnExceptionStrategy`].
///
/// ```
/// use burn_trainer::strategy::OnException;
///
/// let on_exception = OnException::new().with_timeout_seconds(60.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OnException {
    /// How many to keep: the newest 3 by default, one of each optimizer step; `"all"` keeps every one.
    pub topk: TopK,
    /// Template of the file names; by default the time in UTC, like `2024-01-15T10-30-00`.
    pub filename: Option<String>,
    /// Another directory: relative to the run's `checkpoint` directory, or absolute. `on_exception` by
    /// default.
    pub dirpath: Option<PathBuf>,
    /// Keep a link `on_exception.ckpt` to the newest: off by default.
    pub save_symlink: bool,
    /// Leave out optimizer and scheduler: off by default.
    pub save_weights_only: bool,
    /// How long the save may take before the program ends without it, in seconds: 120 by default. It is also
    /// the limit for the end of a run that a signal stops, the step in progress included.
    pub timeout_seconds: f64,
}

impl Default for OnException {
    fn default() -> Self {
        Self {
            topk: TopK::Count(3),
            filename: None,
            dirpath: None,
            save_symlink: false,
            save_weights_only: false,
            timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
        }
    }
}

impl OnException {
    /// Sets how long the save may take, in seconds.
    #[must_use]
    pub fn with_timeout_seconds(mut self, seconds: f64) -> Self {
        self.timeout_seconds = seconds;
        self
    }
}

file_settings!(OnException, ON_EXCEPTION_DIR);

/// Saves the state of the last finished step when training fails, if there is one. Also when training is
/// stopped, if no other strategy saves that state.
///
/// [`OnException`] has an example of its configuration.
#[derive(Debug, Clone)]
pub struct OnExceptionStrategy {
    config: OnException,
}

impl OnExceptionStrategy {
    /// The strategy.
    #[must_use]
    pub fn new(config: OnException) -> Self {
        Self { config }
    }
}

impl Strategy for OnExceptionStrategy {
    fn name(&self) -> String {
        named("on_exception", self.config.dirpath.as_deref())
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(self.config.topk)
    }

    fn output(&self) -> CheckpointOutput {
        self.config.output("on_exception")
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        match event {
            // Nothing was trained: the mistake is in the set-up, and a start without it trains from step 0.
            TrainingEvent::Exception(_) if progress.step == 0 => SaveDecision::Skip,
            TrainingEvent::Exception(message) => {
                SaveDecision::Save { score: f64::NAN, reason: format!("exception: {message}") }
            }
            // A stop is not a failure: the last strategy usually saves the state.
            TrainingEvent::Interrupted(reason) => {
                SaveDecision::SaveUnlessOthers { reason: format!("interrupted: {reason}") }
            }
            _ => SaveDecision::Skip,
        }
    }
}
