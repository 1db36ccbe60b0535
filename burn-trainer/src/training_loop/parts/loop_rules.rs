//! The settings by which the loop decides how long it trains, and when it validates.

use std::time::Duration;

use super::run_limits::{BatchLimits, RunLimits};
use super::validation_schedule::ValidationSchedule;
use crate::config::{NeverDue, TrainerConfig, ValidateAtStart};
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
    /// Batches of an epoch's training, if the loader says it.
    pub(in crate::training_loop) epoch_batches: Option<u64>,
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
        let schedule = ValidationSchedule::of(config, data.train.size(), (batches.train, batches.valid))?;
        let epoch_batches = data.train.size().map(LoaderSize::batches);
        Ok(Self {
            never_due: config.never_validates(),
            epoch_batches: epoch_batches.map(|all| batches.train.map_or(all, |limit| limit.min(all))),
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

    /// Why the run ends before its first validation, as far as the loader's length says it. `batches` are
    /// those of an optimizer step.
    pub(in crate::training_loop) fn ends_before_validation(&self, batches: u64) -> Option<String> {
        let of_epoch = self.epoch_batches?;
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
    /// run continues.
    pub(in crate::training_loop) fn end_at(
        &self,
        position: Position,
        trained: Duration,
        asked: Option<EndReason>,
    ) -> Option<RunOutcome> {
        let is_last_batch = self.epoch_batches.is_some_and(|all| position.batches >= all);
        let epoch_ends = !position.epoch_complete && (position.trained || is_last_batch);
        // A validation, or the rest of an epoch's end, comes first.
        if position.validation_due || epoch_ends {
            return None;
        }
        let asked = || asked.filter(|_| self.limits.may_end_early(position));
        let reason = self.limits.reached(position, trained).or_else(asked);
        reason.map(|reason| RunOutcome::Done(Some(reason)))
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
        if self.is_last_end(position) {
            return Some(RunOutcome::Done(None));
        }
fn batch_limits<I>(
    config: &TrainerConfig,
    data: &TrainingData,
    named: &mut [NamedLoader<I>],
) -> Result<BatchLimits> {
    let limits = config.train_limits();
    let train = data.train.size().map(LoaderSize::batches);
    let overfit = limits.resolve_overfit(train)?;
    let of_valid = |setting: &str, size: Option<LoaderSize>| {
        let limit = config.limit_valid_batches;
        let limit = limit.map(|limit| limit.of_loader(setting, size.map(LoaderSize::batches))).transpose();
        limit.map(|limit| limit.or(overfit))
    };
    for set in named {
        let setting = format!("limit_valid_batches (of the validation set {})", set.name);
        set.limit = of_valid(&setting, set.size)?;
        set.check_batches()?;
    }
    Ok(BatchLimits {
        train: limits.resolve(train)?,
        valid: of_valid("limit_valid_batches", data.valid.size())?,
        repeats: limits.repeats(),
        trial: match config.validate_at_start {
            ValidateAtStart::Batches(batches) => Some(batches),
            _ => None,
        },
    })
}
