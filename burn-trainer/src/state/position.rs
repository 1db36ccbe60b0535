//! The training loop's state as it stands in a checkpoint: where in the run the checkpoint was saved.

use burn_ckpt::metrics_log::LogMark;
use burn_ckpt::plumbing::FilenameTemplate;
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::metrics::{LogPosition, MAX_EPOCHS, is_of_validation};
use crate::run_speed::RunSpeed;
use crate::state::end_reason::StopRequest;

/// Version of [`TrainerState`] that is written, and the newest that is read.
const STATE_VERSION: u32 = 2;
/// Counts at or above this are invalid. Every JSON reader keeps smaller ones exactly, and no run reaches it.
const MAX_COUNT: u64 = 1 << 53;

/// The state of a run at the time of a save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainerState {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) position: Position,
    pub(crate) seed: u64,
    /// The learning rate of the last optimizer step, for the metrics of batches before the next one. burn's
    /// scheduler record has its position only.
    #[serde(default)]
    pub(crate) learning_rate: Option<f64>,
    /// The learning rate of the next optimizer step. Not in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_learning_rate: Option<f64>,
    /// By what callbacks have multiplied the scheduler's rate.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) learning_rate_scale: f64,
    /// Batches in an optimizer step: the number of devices, times the accumulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batches_per_step: Option<u64>,
    /// Since where a step has so many, if it had another number before. Not in checkpoints of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step_change: Option<StepChange>,
    /// The items of the epoch in progress, and those of a validation. Not in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<DataLengths>,
    /// The items of each named validation set.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) validation_sets: IndexMap<String, u64>,
    /// How this start of the run ended, in the state that is saved because it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// Why the run was done before its last epoch: a limit, early stopping or a callback, by its name. Not in
    /// checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_because: Option<String>,
    /// That a callback has ended the run with this state, where a stop or a failure came before the end: the
    /// run that resumes ends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_requested: Option<StopRequest>,
    /// Where the time went, for the metadata. It is not a part of the state: it differs between two runs that
    /// are the same.
    #[serde(skip)]
    pub(crate) speed: Option<RunSpeed>,
    /// Up to where the run's metrics log has the lines of this state. Not in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics_log: Option<LogMark>,
    /// Over the whole run, the time before each resume included.
    pub(crate) training_time_seconds: f64,
    /// The latest values. Those of a validation are of the state of `last_validation`.
    #[serde(with = "burn_ckpt::plumbing::numbers")]
    pub(crate) metrics: IndexMap<String, f64>,
    /// In which direction each metric with a value is better, by its attributes in burn. `burn-ckpt` reads
    /// them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(crate) directions: IndexMap<String, MetricMode>,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl TrainerState {
    /// The file name of this state by a strategy's template, without ending.
    pub(crate) fn file_stem(&self, template: &FilenameTemplate) -> burn_ckpt::Result<String> {
        let Position { epoch, global_step, .. } = self.position;
        template.render(epoch, global_step, self.training_time_seconds, &self.own_metrics())
    }

    /// The metrics of this very state: those of the training, and those of a validation only where it was
    /// this state that was validated.
    pub(crate) fn own_metrics(&self) -> IndexMap<String, f64> {
        self.position.own_metrics(self.metrics.clone())
    }

    /// The state at a position, without strategies.
    pub(crate) fn new(
        position: Position,
        seed: u64,
        training_time_seconds: f64,
        metrics: IndexMap<String, f64>,
    ) -> Self {
        Self {
            version: STATE_VERSION,
            position,
            seed,
            learning_rate: None,
            next_learning_rate: None,
            learning_rate_scale: 1.0,
            batches_per_step: None,
            step_change: None,
            data: None,
            validation_sets: IndexMap::new(),
            ended: None,
            ended_because: None,
            stop_requested: None,
            speed: None,
            metrics_log: None,
            training_time_seconds,
            metrics,
            directions: IndexMap::new(),
        }
    }

    /// Checks the values that come from a file. The error says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.version > STATE_VERSION {
            let version = self.version;
            return Err(format!(
                "its trainer state has version {version}, this program reads up to {STATE_VERSION}"
            ));
        }
        let Position { epoch, batches, items, global_step, .. } = self.position;
        let counts = [
            ("epoch", epoch, MAX_EPOCHS as u64),
            ("batches", batches, MAX_COUNT),
            ("items", items, MAX_COUNT),
            ("global_step", global_step, MAX_COUNT),
        ];
        if let Some((name, count, _)) = counts.into_iter().find(|(_, count, limit)| count >= limit) {
            return Err(format!("its trainer state has the {name} {count}, which no run reaches"));
        }
        if !(self.training_time_seconds >= 0.0 && self.training_time_seconds.is_finite()) {
            return Err(format!("its training time is {} seconds", self.training_time_seconds));
        }
        if let Some(last) = self.position.last_validation {
            last.check(self.position)?;
        }
        let rates = [self.learning_rate, self.next_learning_rate, Some(self.learning_rate_scale)];
        if rates.into_iter().flatten().any(|rate| !rate.is_finite()) {
            return Err("its learning rate is not a number".to_owned());
        }
        let DataLengths { train, valid } = self.data.unwrap_or_default();
        let changed = self.step_change.unwrap_or_default();
        let others = [
            ("batches_per_step", self.batches_per_step.unwrap_or(1)),
            ("step_change", changed.epoch.max(changed.batches).max(changed.global_step)),
            ("train", train),
            ("valid", valid),
        ];
        // A loader that does not know its length says the largest there is.
        let is_possible = |count: u64| count < MAX_COUNT || count == usize::MAX as u64;
        if let Some((name, count)) = others.into_iter().find(|(_, count)| !is_possible(*count)) {
            return Err(format!("its trainer state has the {name} {count}, which no run reaches"));
        }
        Ok(())
    }
}

/// From where on an optimizer step has another number of batches than before: the run was resumed on another
/// number of devices, or with another accumulation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepChange {
    pub(crate) epoch: u64,
    /// Batches of the epoch that were done.
    pub(crate) batches: u64,
    pub(crate) global_step: u64,
}

impl StepChange {
    /// The last change of a run that resumes from a state, and has so many batches in a step now.
    pub(crate) fn of(state: &TrainerState, batches_per_step: u64) -> Option<Self> {
        let is_other = state.batches_per_step.is_some_and(|before| before != batches_per_step);
        let Position { epoch, batches, global_step, .. } = state.position.next();
        if is_other { Some(Self { epoch, batches, global_step }) } else { state.step_change }
    }

    /// The optimizer steps at the end of so many epochs, each of which has so many batches.
    pub(crate) fn steps_at_end(self, epochs: u64, batches: u64, batches_per_step: u64) -> u64 {
        let of_epoch = |done: u64| batches.saturating_sub(done).div_ceil(batches_per_step.max(1));
        let Some(later) = epochs.checked_sub(self.epoch).and_then(|left| left.checked_sub(1)) else {
            return self.global_step;
        };
        self.global_step
            .saturating_add(of_epoch(self.batches))
            .saturating_add(of_epoch(0).saturating_mul(later))
    }
}

/// How many items there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataLengths {
    /// In an epoch's training.
    pub(crate) train: u64,
    /// In a validation.
    pub(crate) valid: u64,
}

/// How many items there are now, and how many the epoch had that a run resumes in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EpochLengths {
    now: DataLengths,
    /// Number and training items of an epoch that began with fewer than there are now. It is finished with
    /// those.
    smaller: Option<(u64, u64)>,
}

impl EpochLengths {
    /// `previous` is the state that the run resumes from.
    pub(crate) fn new(now: DataLengths, previous: Option<&TrainerState>) -> Self {
        let smaller = previous.and_then(|previous| {
            let position = previous.position.next();
            let then = previous.data.filter(|_| position.batches > 0)?.train;
            (then < now.train).then_some((position.epoch, then))
        });
        Self { now, smaller }
    }

    /// The training items of the epoch that a run has resumed in, if it began with fewer than there are now.
    pub(crate) fn resumed_with(&self) -> Option<u64> {
        self.smaller.map(|(_, items)| items)
    }

    /// The training items of an epoch that began with fewer than there are now.
    pub(crate) fn began_with(&self, epoch: u64) -> Option<u64> {
        self.smaller.filter(|(smaller, _)| *smaller == epoch).map(|(_, items)| items)
    }

    /// The items of an epoch, and those of a validation.
    pub(crate) fn of_epoch(&self, epoch: u64) -> DataLengths {
        DataLengths { train: self.began_with(epoch).unwrap_or(self.now.train), ..self.now }
    }
}

/// Where in a run the learner's state is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The epoch in progress, counted from 0.
    pub(crate) epoch: u64,
    /// Whether that epoch is done, validation included.
    pub(crate) epoch_complete: bool,
    /// Whether its training is done.
    #[serde(default)]
    pub(crate) trained: bool,
    /// Training batches of that epoch that are in the state.
    pub(crate) batches: u64,
    /// Training items of that epoch that are in the state.
    #[serde(default)]
    pub(crate) items: u64,
    /// Optimizer steps done.
    pub(crate) global_step: u64,
    /// Whether a validation of this state is due, or under way.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) validation_due: bool,
    /// The last validation that is done. Not in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_validation: Option<LastValidation>,
}

/// The last validation that a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastValidation {
    /// The pass over the validation data, counted from 0: in a run that validates once in each epoch, the
    /// epoch's number.
    pub(crate) pass: u64,
    /// The epoch in which it was.
    pub(crate) epoch: u64,
    /// Training batches of that epoch that were in the state.
    pub(crate) batches: u64,
    /// Optimizer steps that were done.
    pub(crate) global_step: u64,
    /// The training time at its end.
    pub(crate) training_time_seconds: f64,
}

/// How far a run is where it can end: `min_epochs` and `min_steps` are compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndPosition {
    /// Epochs that are done there.
    pub(crate) epochs: u64,
    /// Optimizer steps that are done.
    pub(crate) global_step: u64,
}

impl LastValidation {
    /// Checks the values that come from a file. The error says what is wrong.
    fn check(self, position: Position) -> Result<(), String> {
        let Self { pass, epoch, batches, global_step, training_time_seconds } = self;
        // A loader without positions begins that number of passes.
        if pass >= MAX_EPOCHS as u64 || batches >= MAX_COUNT {
            return Err(format!(
                "its last validation has the pass {pass} and {batches} batches, which no run reaches"
            ));
        }
        if epoch > position.epoch || global_step > position.global_step {
            return Err(format!("its last validation, of step {global_step}, is later than its state"));
        }
        if !(training_time_seconds >= 0.0 && training_time_seconds.is_finite()) {
            return Err(format!("its last validation was after {training_time_seconds} seconds"));
        }
        Ok(())
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Position {
    /// Where training continues.
    pub(crate) fn next(self) -> Self {
        match self.epoch_complete {
            true => Self {
                last_validation: self.last_validation,
                ..Self::at_start(self.epoch + 1, self.global_step)
            },
            false => self,
        }
    }

    /// The first batch of an epoch.
    pub(crate) fn at_start(epoch: u64, global_step: u64) -> Self {
        Self { epoch, global_step, ..Self::default() }
    }

    /// The same state, validated.
    pub(crate) fn validated(self, training_time_seconds: f64) -> Self {
        let Self { epoch, batches, global_step, .. } = self;
        let pass = self.next_validation();
        let last = LastValidation { pass, epoch, batches, global_step, training_time_seconds };
        Self { validation_due: false, last_validation: Some(last), ..self }
    }

    /// The pass over the validation data that comes next.
    pub(crate) fn next_validation(self) -> u64 {
        self.last_validation.map_or(self.epoch, |last| last.pass + 1)
    }

    /// The optimizer steps of the last validation in this epoch.
    pub(crate) fn validated_step(self) -> Option<u64> {
        self.last_validation.filter(|last| last.epoch == self.epoch).map(|last| last.global_step)
    }

    /// Those of the metrics that were measured on this state, or on the epoch's training up to it.
    pub(crate) fn own_metrics(self, mut metrics: IndexMap<String, f64>) -> IndexMap<String, f64> {
        let validated = self.last_validation.map(|last| last.global_step);
        if self.validation_due || validated != Some(self.global_step) {
            metrics.retain(|name, _| !is_of_validation(name));
        }
        metrics
    }

    /// Where the lines of this position end in the run's log of metrics.
    pub(crate) fn in_log(self) -> LogPosition {
        let Self { epoch, batches, global_step: step, last_validation, .. } = self.next();
        let validations = last_validation.map_or(0, |last| last.pass.saturating_add(1));
        LogPosition { epoch, batches, validations, step }
    }

    /// The number of epochs done.
    pub(crate) fn epochs(self) -> u64 {
        self.epoch.saturating_add(u64::from(self.epoch_complete))
    }

    /// How far the run is where it can end next. Within the validation after an epoch's training that is at
    /// the epoch's end.
    pub(crate) fn next_end(self) -> EndPosition {
        let Self { epoch, trained, epoch_complete, global_step, .. } = self;
        EndPosition { epochs: epoch + u64::from(trained || epoch_complete), global_step }
    }

    /// Updates that the training split of the epoch has logged: one for each batch, and one at the end.
    pub(crate) fn logged(self) -> u64 {
        self.batches + u64::from(self.trained)
    }
}
