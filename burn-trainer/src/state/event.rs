//! What happens in a run, and the state of the run at that time: the input of every saving strategy.

use std::time::Duration;

use indexmap::IndexMap;

use super::position::Position;
use super::run_clock::RunClock;

/// An event at which a strategy may want a checkpoint. [`Strategy`](crate::strategy::Strategy) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// An optimizer step is done, and the epoch continues: the loader has another batch. A step that ends an epoch is an
    /// [`TrainingEvent::EpochEnd`] after the validation, so that one state is not saved twice.
    StepEnd,
    /// A validation is done; the `val_` metrics are new.
    ValidationEnd,
    /// An epoch is done, validation included.
    EpochEnd,
    /// Training is complete: all epochs are done, or early stopping ended it. It comes with the [`TrainingEvent::EpochEnd`] of
    /// the last epoch.
    TrainingEnd,
    /// Training was told to stop before its last epoch, for this reason: a signal's name, or the message given to burn's
    /// interrupter. The state is that of the last step done.
    Interrupted(&'a str),
    /// Training failed with this message. The state is that of the last step done.
    Exception(&'a str),
}

impl TrainingEvent<'_> {
    /// How the run ends with this event, as a checkpoint says it. `None` where the run continues.
    pub(crate) fn ended(&self) -> Option<String> {
        match self {
            Self::Interrupted(reason) => Some(format!("stopped: {reason}")),
            Self::Exception(message) => Some(format!("exception: {message}")),
            Self::StepEnd | Self::ValidationEnd | Self::EpochEnd | Self::TrainingEnd => None,
        }
    }
}

/// The state of a run at an event. [`Strategy`](crate::strategy::Strategy) has an example.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunProgress<'a> {
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub step: u64,
    /// Time since this process started training.
    pub elapsed: Duration,
    /// Time spent training over the whole run, that before a resume included.
    pub training_time: Duration,
    /// The latest value of every numeric metric: the epoch's final value where the epoch is done, else the
    /// average over the epoch so far. At [`TrainingEvent::StepEnd`] it may be a step behind.
    pub metrics: &'a IndexMap<String, f64>,
}

impl<'a> RunProgress<'a> {
    pub(crate) fn new(position: Position, clock: &RunClock, metrics: &'a IndexMap<String, f64>) -> Self {
        Self {
            epoch: position.epoch,
            step: position.global_step,
            elapsed: clock.elapsed(),
            training_time: clock.training_time(),
            metrics,
        }
    }
}
