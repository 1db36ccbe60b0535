//! The limits at which a run ends as done before its last epoch, and those of the batches of an epoch.

use std::time::Duration;

use crate::config::{BatchLimit, TrainerConfig};
use crate::dataloader::LoaderSize;
use crate::error::Result;
use crate::process::progress::figures::{count, span};
use crate::state::end_reason::EndReason;
use crate::state::position::{EndPosition, Position};
use crate::state::resume_point::ResumePoint;
use crate::state::run_clock::{RunClock, training_time};
use crate::state::speed_meter::SplitPlan;

/// How many batches of an epoch are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum UsedBatches {
    Count(u64),
    /// A part of the batches of an epoch's training, which has this size.
    OfTraining(BatchLimit, LoaderSize),
}

impl UsedBatches {
    /// Of the training data, whose loader may say how large it is.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), which names the setting, for a fraction of a number that is
    /// unknown.
    pub(super) fn of_training(limit: BatchLimit, setting: &str, size: Option<LoaderSize>) -> Result<Self> {
        let count = limit.of_loader(setting, size.map(LoaderSize::batches))?;
        Ok(match (limit, size) {
            (BatchLimit::Fraction(_), Some(size)) => Self::OfTraining(limit, size),
            _ => Self::Count(count),
        })
    }

    /// The number in an epoch. `began_with` are the training items of one that began with fewer than there
    /// are now: it is finished with a part of those.
    pub(super) fn in_epoch(self, began_with: Option<u64>) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::OfTraining(limit, size) => limit.of(size.began_with(began_with).batches()),
        }
    }
}

/// How many batches of an epoch are used; `None`: all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchLimits {
    pub(crate) train: Option<UsedBatches>,
    pub(crate) valid: Option<UsedBatches>,
    /// Those of the validation that are tried before the first step.
    pub(crate) trial: Option<u64>,
    /// Whether each epoch has the batches of the first.
    pub(crate) repeats: bool,
}

/// The limits of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunLimits {
    pub(super) max_steps: Option<u64>,
    max_time: Option<Duration>,
    min_epochs: u64,
    min_steps: u64,
}

impl RunLimits {
    pub(crate) fn of(config: &TrainerConfig) -> Self {
        Self {
            max_steps: config.max_steps,
            max_time: config.max_time.map(|interval| interval.0),
            min_epochs: config.min_epochs as u64,
            min_steps: config.min_steps,
        }
    }

    /// Which limit a run has come to, at a position and after this time of training.
    pub(crate) fn reached(&self, position: Position, trained: Duration) -> Option<EndReason> {
        let steps = self.max_steps.filter(|steps| position.global_step >= *steps);
        // A run does at least one step.
        let has_begun = position.global_step > 0;
        let time = self.max_time.filter(|time| has_begun && trained >= *time);
        steps.map(EndReason::MaxSteps).or(time.map(EndReason::MaxTime))
    }

    /// What is left until the limits.
    pub(in crate::training_loop) fn left(&self, position: Position, clock: &RunClock) -> SplitPlan {
        SplitPlan {
            steps_left: self.max_steps.map(|steps| steps.saturating_sub(position.global_step)),
            time_left: self.max_time.map(|time| time.saturating_sub(clock.training_time())),
            ..SplitPlan::default()
        }
    }

    /// Whether early stopping and callbacks may end a run at a position.
    pub(in crate::training_loop) fn may_end_early(&self, position: Position) -> bool {
        let (epochs, global_step) = (position.epochs(), position.global_step);
        self.may_end_at(EndPosition { epochs, global_step })
    }

    /// The same of a position as a callback has stored it.
    pub(in crate::training_loop) fn may_end_at(&self, position: EndPosition) -> bool {
        position.epochs >= self.min_epochs && position.global_step >= self.min_steps
    }
}

/// The limit that a checkpoint has reached already.
pub(crate) struct NothingLeft {
    /// The setting of the limit.
    pub(crate) setting: &'static str,
    pub(crate) limit: String,
    /// What the checkpoint has of it.
    pub(crate) done: String,
}

impl NothingLeft {
    /// `None` where there is a step to do.
    pub(crate) fn of(config: &TrainerConfig, resume: &ResumePoint) -> Option<Self> {
        let position = resume.state.position.next();
        if position.epoch >= config.max_epochs as u64 {
            let (limit, done) = (config.max_epochs.to_string(), count(position.epoch, "epoch"));
            return Some(Self { setting: "max_epochs", limit, done });
        }
        let trained = training_time(resume.state.training_time_seconds);
        match RunLimits::of(config).reached(position, trained)? {
            EndReason::MaxTime(limit) => {
                let done = format!("{} of training", span(trained.as_secs_f64()));
                Some(Self { setting: "max_time", limit: span(limit.as_secs_f64()), done })
            }
            _ => {
                let limit = config.max_steps.unwrap_or_default().to_string();
                Some(Self { setting: "max_steps", limit, done: count(position.global_step, "step") })
            }
        }
    }
}
