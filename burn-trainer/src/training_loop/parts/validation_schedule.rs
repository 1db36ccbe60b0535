//! After which steps, and at the ends of which epochs, a run validates.

use std::time::Duration;

use super::run_limits::{BatchLimits, UsedBatches};
use crate::config::{ChosenValidation, TrainerConfig};
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::state::position::Position;
use crate::state::run_clock::RunClock;

/// Less than any part of a batch that is meant.
const ROUNDING: f64 = 1e-6;

/// When a run validates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ValidationSchedule {
    EveryNEpochs(u64),
    EveryNSteps(u64),
    Every(Duration),
    EpochFraction {
        fraction: f64,
        /// The training data, and how many batches of it an epoch uses; `None`: all.
        size: LoaderSize,
        limit: Option<UsedBatches>,
    },
    /// It is left out.
    Never,
}

impl ValidationSchedule {
    /// `size` is that of the training data.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a part of an epoch whose length is not known.
    pub(crate) fn of(config: &TrainerConfig, size: Option<LoaderSize>, limits: &BatchLimits) -> Result<Self> {
        let limit = limits.train;
        match (config.validation.chosen(), size) {
            _ if limits.valid == Some(UsedBatches::Count(0)) => Ok(Self::Never),
            (ChosenValidation::EveryNEpochs(epochs), _) => Ok(Self::EveryNEpochs(epochs)),
            (ChosenValidation::EveryNSteps(steps), _) => Ok(Self::EveryNSteps(steps)),
            (ChosenValidation::Every(time), _) => Ok(Self::Every(time)),
            (ChosenValidation::EpochFraction(fraction), Some(size)) => {
                Ok(Self::EpochFraction { fraction, size, limit })
            }
            (ChosenValidation::EpochFraction(_), None) => {
                let reason = "the training loader does not say how many batches an epoch has: choose every_n_steps, every or \
                              every_n_epochs, or take a loader of Trainer::loader";
                Err(Error::config("validation.epoch_fraction", reason))
            }
        }
    }

    /// Whether it can fall within an epoch.
    pub(in crate::training_loop) fn is_within_epochs(self) -> bool {
        !matches!(self, Self::EveryNEpochs(_) | Self::Never)
    }

    /// The step after which the first validation is due, with these batches in an epoch and in a step.
    /// `None` where time says it, and where there is none.
    pub(in crate::training_loop) fn first_step(self, of_epoch: u64, in_step: u64) -> Option<u64> {
        let in_step = in_step.max(1);
        match self {
            Self::Never | Self::Every(_) => None,
            Self::EveryNSteps(steps) => Some(steps),
            Self::EveryNEpochs(epochs) => Some(epochs.saturating_mul(of_epoch.div_ceil(in_step))),
            Self::EpochFraction { fraction, .. } => {
                let part = (of_epoch as f64 * fraction - ROUNDING).ceil().max(1.0);
                Some((part as u64).div_ceil(in_step))
            }
        }
    }

    /// Whether a validation is due at a position, after a step or at the end of an epoch's training. `items`
    /// are those of an epoch that began with fewer than there are now.
    pub(in crate::training_loop) fn is_due(
        self,
        position: Position,
        clock: &RunClock,
        items: Option<u64>,
    ) -> bool {
        let Position { epoch, trained, batches, global_step, last_validation, .. } = position;
        let is_validated = last_validation.is_some_and(|last| last.global_step == global_step);
        match self {
            Self::Never => false,
            Self::EveryNEpochs(epochs) => trained && (epoch + 1).is_multiple_of(epochs),
            // A state is validated once, also where steps are left out after it.
            _ if is_validated || global_step == 0 => false,
            Self::EveryNSteps(steps) => global_step.is_multiple_of(steps),
            Self::Every(time) => {
                let last = last_validation.map_or(0.0, |last| last.training_time_seconds);
                clock.seconds() - last >= time.as_secs_f64()
            }
            Self::EpochFraction { fraction, size, limit } => {
                let all = size.began_with(items).batches();
                let all = limit.map_or(all, |limit| limit.in_epoch(items).min(all));
                // No part is smaller than a batch.
                let part = (all as f64 * fraction).max(1.0);
                let parts = |batches: u64| (batches as f64 / part + ROUNDING).floor();
                // The end of an epoch is that of its last part, whatever the loader has said of its length.
                let now = parts(if trained { batches.max(all) } else { batches });
                let last = last_validation.filter(|last| last.epoch == epoch);
                now > last.map_or(0.0, |last| parts(last.batches))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BatchLimit;

    /// The batches of an epoch of ten after which a run validates, with these batches in a step.
    fn validated(schedule: ValidationSchedule, epoch: u64, in_step: usize) -> Vec<u64> {
        let clock = RunClock::start(None);
        let mut position = Position::at_start(epoch, epoch * 10);
        let mut validated = Vec::new();
        for batches in (1..=10).step_by(in_step).map(|batches| batches + in_step as u64 - 1) {
            let (batches, trained) = (batches.min(10), batches >= 10);
            let global_step = position.global_step + 1;
            position = Position { batches, trained, global_step, ..position };
            if schedule.is_due(position, &clock, None) {
                validated.push(batches);
                position = position.validated(0.0);
                assert!(
                    matches!(schedule, ValidationSchedule::EveryNEpochs(_))
                        || !schedule.is_due(position, &clock, None)
                );
            }
        }
        validated
    }

    #[test]
    fn each_schedule_has_its_steps() {
        let part = |fraction: f64| ValidationSchedule::EpochFraction {
            fraction,
            size: LoaderSize::of_batches(10),
            limit: None,
        };
        for (schedule, expected) in [
            (ValidationSchedule::EveryNEpochs(1), vec![10]),
            (ValidationSchedule::EveryNSteps(3), vec![3, 6, 9]),
            (ValidationSchedule::EveryNSteps(5), vec![5, 10]),
            (ValidationSchedule::Every(Duration::ZERO), (1..=10).collect()),
            (ValidationSchedule::Every(Duration::from_secs(3600)), vec![]),
            (part(1.0), vec![10]),
            (part(0.5), vec![5, 10]),
            (part(0.25), vec![3, 5, 8, 10]),
            (part(0.1), (1..=10).collect()),
            (part(0.4), vec![4, 8]),
            (part(0.3), vec![3, 6, 9]),
            // Several parts end within a step.
            (part(0.01), (1..=10).collect()),
            (part(f64::MIN_POSITIVE), (1..=10).collect()),
            (ValidationSchedule::Never, vec![]),
        ] {
            assert_eq!(validated(schedule, 0, 1), expected, "{schedule:?}");
            if let (Some(first), Some(step)) = (expected.first(), schedule.first_step(10, 1)) {
                assert_eq!(step, *first, "{schedule:?}");
            }
        }
        // Steps are counted from the run's start.
        assert_eq!(validated(ValidationSchedule::EveryNSteps(7), 1, 1), [4]);
        assert_eq!(validated(part(0.25), 1, 1), [3, 5, 8, 10]);
        assert_eq!(validated(part(0.25), 0, 4), [4, 8, 10]);
        let first = |schedule: ValidationSchedule, in_step| schedule.first_step(10, in_step);
        assert_eq!(
            [first(part(0.25), 4), first(part(0.5), 4), first(part(0.5), 5)],
            [Some(1), Some(2), Some(1)]
        );
        assert_eq!(first(ValidationSchedule::EveryNEpochs(2), 4), Some(6));
        assert!(validated(ValidationSchedule::EveryNEpochs(2), 0, 1).is_empty());
        assert_eq!(validated(ValidationSchedule::EveryNEpochs(2), 1, 1), [10]);
    }

    #[test]
    fn an_epoch_that_is_shorter_or_longer_than_its_loader_says_has_its_parts() {
        let clock = RunClock::start(None);
        let half = |batches, limit| ValidationSchedule::EpochFraction {
            fraction: 0.5,
            size: LoaderSize::of_batches(batches),
            limit,
        };
        let schedule = half(10, None);
        let at =
            |batches, trained| Position { batches, trained, global_step: batches, ..Position::default() };
        let at_half = at(5, false).validated(0.0).last_validation;
        assert!(schedule.is_due(Position { last_validation: at_half, ..at(7, true) }, &clock, None));
        assert!(!schedule.is_due(Position { last_validation: at_half, ..at(7, false) }, &clock, None));
        assert!(schedule.is_due(
            Position { last_validation: at(10, false).validated(0.0).last_validation, ..at(15, false) },
            &clock,
            None
        ));
        // A limit, and an epoch that began with fewer items, have parts of their own.
        let count = UsedBatches::Count(4);
        let part = UsedBatches::OfTraining(BatchLimit::Fraction(0.5), LoaderSize::of_batches(100));
        for (schedule, items) in
            [(half(100, Some(count)), None), (half(100, None), Some(4)), (half(100, Some(part)), Some(8))]
        {
            assert!(
                schedule.is_due(at(2, false), &clock, items) && !schedule.is_due(at(1, false), &clock, items)
            );
        }
    }
}
