//! What happens in a run, and the state of the run at that time: the input of every saving strategy.

use std::cell::OnceCell;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;

use super::position::Position;
use super::run_clock::RunClock;

/// An event at which a strategy may want a checkpoint. [`Strategy`](crate::strategy::Strategy) has an
/// example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// An optimizer step is done, and the epoch continues: the loader has another batch. A step that ends an
    /// epoch is an [`TrainingEvent::EpochEnd`] after the validation, so that one state is not saved twice.
    StepEnd,
    /// A validation is done; the `val_` metrics are new.
    ValidationEnd,
    /// An epoch is done, validation included.
    EpochEnd,
    /// Training is complete: all epochs are done, or a limit, early stopping or a callback has ended it. It
    /// comes with the event at which that is so: the [`TrainingEvent::EpochEnd`] of the last epoch, or a
    /// [`TrainingEvent::StepEnd`] or [`TrainingEvent::ValidationEnd`] within an epoch.
    TrainingEnd,
    /// Training was told to stop before its last epoch, for this reason: a signal's name, or the message
    /// given to burn's interrupter. The state is that of the last step done.
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
            Self::TrainingEnd => Some("done".to_owned()),
            Self::StepEnd | Self::ValidationEnd | Self::EpochEnd => None,
        }
    }
}

/// The state of a run at an event. [`Strategy`](crate::strategy::Strategy) has an example.
#[derive(Clone)]
#[non_exhaustive]
pub struct RunProgress<'a> {
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub step: u64,
    /// Time since this process started training, without that in which it was suspended.
    pub elapsed: Duration,
    /// Time spent training over the whole run, that before a resume included.
    pub training_time: Duration,
    read_metrics: &'a dyn Fn() -> IndexMap<String, f64>,
    metrics: OnceCell<IndexMap<String, f64>>,
}

impl<'a> RunProgress<'a> {
    /// The state at a position. The metrics are read when a strategy asks for them.
    pub(crate) fn new(
        position: Position,
        clock: &RunClock,
        read_metrics: &'a dyn Fn() -> IndexMap<String, f64>,
    ) -> Self {
        let training_time = clock.training_time();
        let (epoch, step) = (position.epoch, position.global_step);
        Self { training_time, ..Self::at(epoch, step, clock.elapsed(), read_metrics) }
    }

    /// The state of a run that was never resumed.
    pub(crate) fn at(
        epoch: u64,
        step: u64,
        elapsed: Duration,
        read_metrics: &'a dyn Fn() -> IndexMap<String, f64>,
    ) -> Self {
        Self { epoch, step, elapsed, training_time: elapsed, read_metrics, metrics: OnceCell::new() }
    }

    /// The value of every numeric metric of the state at this event. Of the training that is the epoch's
    /// final value where the epoch is done, else the average over the epoch so far, this step included.
    /// Metrics of the validation are there only where this very state was validated, not those of an earlier
    /// validation.
    ///
    /// burn computes metrics on another thread, beside the next step. The first call waits for it, so ask
    /// only at the steps that need it: at every [`TrainingEvent::StepEnd`] that slows training down. At a
    /// [`TrainingEvent::Exception`] it does not wait, since that thread can be the one that failed; the last
    /// values that it has logged are returned.
    ///
    /// ```
    /// # use burn_trainer::strategy::{RunProgress, SaveDecision, TrainingEvent};
    /// fn decide(event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
    ///     let is_due = *event == TrainingEvent::StepEnd && progress.step.is_multiple_of(100);
    ///     match is_due.then(|| progress.metrics().get("train_loss").copied()).flatten() {
    ///         Some(loss) if loss < 0.1 => SaveDecision::Save { score: loss, reason: "low loss".to_owned() },
    ///         _ => SaveDecision::Skip,
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn metrics(&self) -> &IndexMap<String, f64> {
        self.metrics.get_or_init(self.read_metrics)
    }
}

impl fmt::Debug for RunProgress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, step, elapsed, metrics, .. } = self;
        f.debug_struct("RunProgress")
            .field("epoch", epoch)
            .field("step", step)
            .field("elapsed", elapsed)
            .field("metrics", &metrics.get())
            .finish()
    }
}
