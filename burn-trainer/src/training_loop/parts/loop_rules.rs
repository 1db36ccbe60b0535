//! The settings by which the loop decides how long it trains, and when it validates.

use std::time::Duration;

use super::run_limits::{BatchLimits, RunLimits, UsedBatches};
use super::validation_schedule::ValidationSchedule;
use crate::config::{BatchLimit, NeverDue, TrainerConfig, ValidateAtStart};
use crate::dataloader::{LoaderSize, NamedLoader};
use crate::error::Result;
use crate::state::end_reason::{EndReason, RunOutcome};
use crate::state::position::Position;
use crate::state::training_data::TrainingData;

/// What the configuration says of the loop, for the data that there is.
#[derive(Clone, Copy)]
pub(crate) struct LoopRules {
    pub(in crate::training_loop) max_epochs: u64,
    pub(in crate::training_loop) limits: RunLimits,
    pub(in crate::training_loop) batches: BatchLimits,
    pub(in crate::training_loop) schedule: ValidationSchedule,
    /// That no validation comes, by the configuration alone.
    pub(in crate::training_loop) never_due: Option<NeverDue>,
    /// The training data, if the loader says how large it is.
    train_size: Option<LoaderSize>,
    /// Whether the run validates before its first step.
    pub(in crate::training_loop) validates_at_start: bool,
    pub(in crate::training_loop) seed: u64,
    /// See [`TrainerConfig::keep_effective_batch`].
    pub(in crate::training_loop) keep_effective_batch: bool,
    /// Whether a run that is done loads the state that it has saved, as a resume would.
    pub(in crate::training_loop) loads_back: bool,
}

impl LoopRules {
    /// Each of the `named` validation sets gets its own limit.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a part of data whose size is not known, and
    /// [`Error::NoBatch`](crate::Error::NoBatch) for a named set without a batch.
    pub(crate) fn of<I>(
        config: &TrainerConfig,
        data: &TrainingData,
        named: &mut [NamedLoader<I>],
    ) -> Result<Self> {
        let batches = batch_limits(config, data, named)?;
        let schedule = ValidationSchedule::of(config, data.train.size(), &batches)?;
        Ok(Self {
            never_due: config.never_validates(),
            train_size: data.train.size(),
            max_epochs: config.max_epochs as u64,
            limits: RunLimits::of(config),
            batches,
            schedule,
            validates_at_start: config.validate_at_start == ValidateAtStart::Whole,
            seed: config.seed,
            keep_effective_batch: config.keep_effective_batch,
            loads_back: config.fast_dev_run && config.writes(),
        })
    }

    /// Batches of an epoch's training, if the loader says it. `began_with` are the items of an epoch that
    /// began with fewer than there are now.
    fn epoch_batches(&self, began_with: Option<u64>) -> Option<u64> {
        let all = self.train_size?.began_with(began_with).batches();
        Some(self.batches.train.map_or(all, |limit| limit.in_epoch(began_with).min(all)))
    }

    /// Why the run ends before its first validation, as far as the loader's length says it. `batches` are
    /// those of an optimizer step, and `began_with` the items of the epoch that a run has resumed in.
    pub(in crate::training_loop) fn ends_before_validation(
        &self,
        batches: u64,
        began_with: Option<u64>,
    ) -> Option<String> {
        let of_epoch = self.epoch_batches(began_with)?;
        let first = self.schedule.first_step(of_epoch, batches)?;
        let steps = self.max_epochs.saturating_mul(of_epoch.div_ceil(batches.max(1)));
        let (steps, limit) = match self.limits.max_steps {
            Some(max) if max < steps => (max, format!("max_steps is {max}")),
            _ => (steps, format!("max_epochs is {}", self.max_epochs)),
        };
        (first > steps).then(|| {
            let batches = if of_epoch == 1 { "batch" } else { "batches" };
            format!("which is due after step {first}: {limit}, and an epoch has {of_epoch} {batches}")
        })
    }

    /// The end of the run with the state of a position, where callbacks have `asked` for it. `None` where the
    /// run continues. `began_with` are the items of the epoch if it began with fewer than there are now.
    pub(in crate::training_loop) fn end_at(
        &self,
        position: Position,
        began_with: Option<u64>,
        trained: Duration,
        asked: Option<EndReason>,
    ) -> Option<RunOutcome> {
        let is_last_batch = self.epoch_batches(began_with).is_some_and(|all| position.batches >= all);
        let epoch_ends = !position.epoch_complete && (position.trained || is_last_batch);
        // A validation, or the rest of an epoch's end, comes first.
        if position.validation_due || epoch_ends {
            return None;
        }
        let asked = || asked.filter(|_| self.limits.may_end_early(position));
        let is_last = self.is_last_end(position);
        let reason = self.limits.reached(position, trained).filter(|_| !is_last).or_else(asked);
        (reason.is_some() || is_last).then_some(RunOutcome::Done(reason))
    }

    /// Whether a position is the end of the last epoch.
    pub(in crate::training_loop) fn is_last_end(&self, position: Position) -> bool {
        position.epochs() >= self.max_epochs
    }

    /// Whether the run validates.
    pub(in crate::training_loop) fn validates(&self) -> bool {
        self.schedule != ValidationSchedule::Never
    }
}

/// How many batches of each epoch are used.
fn batch_limits<I>(
    config: &TrainerConfig,
    data: &TrainingData,
    named: &mut [NamedLoader<I>],
) -> Result<BatchLimits> {
    let of_training = |setting: &str, limit: Option<BatchLimit>| {
        limit.map(|limit| UsedBatches::of_training(limit, setting, data.train.size())).transpose()
    };
    let overfit = of_training("overfit_batches", config.overfit_batches)?;
    let of_valid = |setting: &str, size: Option<LoaderSize>| {
        let limit = config.limit_valid_batches;
        limit.map(|limit| limit.of_loader(setting, size.map(LoaderSize::batches))).transpose()
    };
    for set in named {
        let setting = format!("limit_valid_batches (of the validation set {})", set.name);
        set.limit = of_valid(&setting, set.size)?;
        set.check_batches()?;
    }
    Ok(BatchLimits {
        train: of_training("limit_train_batches", config.limit_train_batches)?.or(overfit),
        // With overfit_batches, which excludes the other two limits, as many as are trained on.
        valid: of_valid("limit_valid_batches", data.valid.size())?.map(UsedBatches::Count).or(overfit),
        repeats: overfit.is_some(),
        trial: match config.validate_at_start {
            ValidateAtStart::Batches(batches) => Some(batches),
            _ => None,
        },
    })
}
