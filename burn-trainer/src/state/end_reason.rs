//! Why a run is done before its last epoch.

use std::fmt;
use std::time::Duration;

use burn_ckpt::plumbing::EndedBy;

use crate::process::progress::figures::exact_time;

/// Why a run has ended before its last epoch, as done. [`FitResult`](crate::FitResult) has it, and
/// [`RunOutcome`](crate::callbacks::RunOutcome).
///
/// ```
/// # use burn_trainer::{EndReason, FitResult};
/// fn can_be_extended<M>(result: &FitResult<M>) -> bool {
///     matches!(result.ended_because, Some(EndReason::MaxSteps(_) | EndReason::MaxTime(_)))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// It has done so many optimizer steps: [`max_steps`](crate::TrainerConfig::max_steps).
    MaxSteps(u64),
    /// It has trained for so long: [`max_time`](crate::TrainerConfig::max_time).
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
    /// As a checkpoint says it.
    pub(crate) fn ended_by(&self) -> EndedBy {
        match self {
            Self::MaxSteps(_) => EndedBy::MaxSteps,
            Self::MaxTime(_) => EndedBy::MaxTime,
            Self::EarlyStopping(_) => EndedBy::EarlyStopping,
            Self::Callback { .. } => EndedBy::Callback,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxSteps(steps) => write!(f, "max_steps: {steps} optimizer steps are done"),
            Self::MaxTime(time) => write!(f, "max_time: {} of training are over", exact_time(*time)),
            Self::EarlyStopping(reason) | Self::Callback { reason, .. } => f.write_str(reason),
        }
    }
}
