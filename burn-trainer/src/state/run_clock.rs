//! How long a run has trained.

use std::sync::Arc;
use std::time::Duration;

use super::position::TrainerState;
use super::running_time::RunningTime;

/// The clock of one call of `fit` or `fit_with`. It stands still while the process is suspended.
#[derive(Debug, Clone)]
pub(crate) struct RunClock {
    running: Arc<RunningTime>,
    /// Seconds that the run had trained before.
    seconds_before: f64,
}

impl RunClock {
    /// Starts the clock. `previous` is the state that the run resumes from.
    pub(crate) fn start(previous: Option<&TrainerState>) -> Self {
        let seconds_before = previous.map_or(0.0, |state| state.training_time_seconds);
        Self { running: Arc::new(RunningTime::start()), seconds_before }
    }

    /// Time since this call began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.running.elapsed()
    }

    /// Seconds of training over the whole run.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds_before + self.elapsed().as_secs_f64()
    }

    /// Time of training over the whole run.
    pub(crate) fn training_time(&self) -> Duration {
        training_time(self.seconds())
    }
}

/// Seconds, as a file can say them, as a time.
pub(crate) fn training_time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
