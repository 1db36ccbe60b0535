//! How a run ended, and why it is done before its last epoch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::progress::figures::span;
use crate::process::signals::StopSignal;

/// What a run can end by: a setting by its name, early stopping by what people call it.
const MAX_STEPS: &str = "max_steps";
const MAX_TIME: &str = "max_time";
pub(crate) const EARLY_STOPPING_TEXT: &str = "early stopping";

/// How a run ended: [`FitResult::outcome`](crate::FitResult::outcome), and for callbacks
/// [`RunEnd::outcome`](crate::callbacks::RunEnd::outcome).
///
/// ```
/// use burn_trainer::{FitResult, RunOutcome};
///
/// fn summary<M>(result: &FitResult<M>) -> String {
///     match &result.outcome {
///         RunOutcome::Done(None) => "all epochs are done".to_owned(),
///         RunOutcome::Done(Some(reason)) => format!("done before the last epoch: {reason}"),
///         RunOutcome::Stopped { reason, .. } => format!("stopped ({reason}): start it again to resume"),
///         other => format!("{other:?}"),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// It is done: after its last epoch, or earlier for this reason.
    Done(Option<EndReason>),
    /// It was asked to stop before its last epoch, and can resume.
    Stopped {
        /// The signal's name, what the dashboard says of `q`, or the message given to burn's interrupter.
        reason: String,
        /// The signal. `None` if no signal stopped it.
        signal: Option<StopSignal>,
    },
    /// It failed with this error. Callbacks see it; `fit` returns the error in place of a result.
    Failed(String),
}

impl RunOutcome {
    /// Whether the run is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Whether the run was stopped before its last epoch, and can resume.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    /// Why the run is done before its last epoch.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        match self {
            Self::Done(reason) => reason.as_ref(),
            Self::Stopped { .. } | Self::Failed(_) => None,
        }
    }

    /// Whether early stopping has ended the run: the trainer's or burn's, in this process or before.
    #[must_use]
    pub fn is_early_stop(&self) -> bool {
        matches!(self, Self::Done(Some(EndReason::EarlyStopping(_))))
    }

    /// The signal that stopped the run.
    #[must_use]
    pub fn signal(&self) -> Option<StopSignal> {
        match self {
            Self::Stopped { signal, .. } => *signal,
            Self::Done(_) | Self::Failed(_) => None,
        }
    }
}

/// Why a run has ended before its last epoch, as done: a part of [`RunOutcome::Done`].
///
/// ```
/// # use burn_trainer::{EndReason, FitResult};
/// fn can_be_extended<M>(result: &FitResult<M>) -> bool {
///     matches!(result.outcome.end_reason(), Some(EndReason::MaxSteps(_) | EndReason::MaxTime(_)))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// It has done this number of optimizer steps: [`max_steps`](crate::TrainerConfig::max_steps).
    MaxSteps(u64),
    /// It has trained for this time: [`max_time`](crate::TrainerConfig::max_time).
    MaxTime(Duration),
    /// Early stopping has ended it for this reason: [`early_stopping`](crate::TrainerConfig::early_stopping).
    EarlyStopping(String),
    /// A callback has called [`CallbackContext::stop`](crate::callbacks::CallbackContext::stop).
    Callback {
        /// The callback's name.
        name: String,
        /// The reason that it gave.
        reason: String,
    },
}

impl EndReason {
    /// Whether it is a limit of the configuration.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::MaxSteps(_) | Self::MaxTime(_))
    }

    /// The setting of the limit. `None` if it was not a limit.
    #[cfg(feature = "cli")]
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::MaxSteps(_) => Some(MAX_STEPS),
            Self::MaxTime(_) => Some(MAX_TIME),
            Self::EarlyStopping(_) | Self::Callback { .. } => None,
        }
    }

    /// With the name of what has ended the run, as a checkpoint has it and the page about a run.
    pub(crate) fn named(&self) -> String {
        match self {
            Self::MaxSteps(_) | Self::MaxTime(_) => self.to_string(),
            Self::EarlyStopping(reason) => format!("{EARLY_STOPPING_TEXT}: {reason}"),
            Self::Callback { name, reason } => format!("{name}: {reason}"),
        }
    }
}

/// A request of a callback to end the run, as it stands in a state that was saved before the end: a stop or a
/// failure came first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopRequest {
    /// The callback's name. `None` of early stopping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    reason: String,
}

impl StopRequest {
    /// `None` for a limit, which is found again.
    pub(crate) fn of(reason: &EndReason) -> Option<Self> {
        match reason.clone() {
            EndReason::MaxSteps(_) | EndReason::MaxTime(_) => None,
            EndReason::EarlyStopping(reason) => Some(Self { callback: None, reason }),
            EndReason::Callback { name, reason } => Some(Self { callback: Some(name), reason }),
        }
    }
}

impl From<StopRequest> for EndReason {
    fn from(StopRequest { callback, reason }: StopRequest) -> Self {
        match callback {
            Some(name) => Self::Callback { name, reason },
            None => Self::EarlyStopping(reason),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxSteps(steps) => write!(f, "{MAX_STEPS}: {steps} optimizer steps are done"),
            Self::MaxTime(time) => write!(f, "{MAX_TIME}: {} of training are over", span(time.as_secs_f64())),
            Self::EarlyStopping(reason) | Self::Callback { reason, .. } => f.write_str(reason),
        }
    }
}
