//! The exponential moving average of the parameters.

use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;
use burn::train::LearnerModel;
use serde::{Deserialize, Serialize};

use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::error::CallbackResult;
use crate::process::console::{note, warn};
use crate::state::callback_state::CallbackState;

/// Version of the stored state.
const VERSION: u32 = 1;
/// The name, unless another one is given.
const NAME: &str = "ema";

/// Averages the parameters over the steps: `average = decay * average + (1 - decay) * parameter` after an
/// optimizer step.
///
/// The average begins with the parameters after the first step that counts. Running statistics (of a batch
/// normalisation) are averaged, too. The state is the section `user.ema` (of another
/// [name](Self::with_name): `user.<name>`), in checkpoints of weights alone as well; a model with it loads by
/// [`CheckpointLoader::part`](burn_ckpt::CheckpointLoader::part):
///
/// ```no_run
/// # use burn::tensor::Device;
/// # use burn_ckpt::FromCheckpoint;
/// # fn load<M: FromCheckpoint>() -> burn_ckpt::Result<()> {
/// let averaged = M::loader("runs/a/best").part("ema").load(&Device::default())?.model;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Ema<M> {
    name: String,
    settings: EmaSettings,
    /// The named validation sets that are validated with the parameters of the training.
    trained_on: Vec<String>,
    averaged: Option<M>,
    /// The optimizer step with whose parameters the average began. `None` where a checkpoint of an earlier
    /// version does not say it.
    since_step: Option<u64>,
}

/// What is stored beside the averaged parameters.
#[derive(Debug, Serialize, Deserialize)]
struct EmaValue {
    #[serde(flatten)]
    settings: EmaSettings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_step: Option<u64>,
    /// For [`burn_ckpt::Checkpoint::part_of_metric`], as `validates` is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trained_on: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EmaSettings {
    decay: f64,
    every_n_steps: u64,
    start_step: u64,
    validates: bool,
}

impl<M: LearnerModel> Ema<M> {
    /// An average with a decay from 0 (no average) to below 1 (0.999, say), over every step, with which the
    /// run validates.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        let settings = EmaSettings { decay, every_n_steps: 1, start_step: 0, validates: true };
        Self { name: NAME.to_owned(), settings, trained_on: Vec::new(), averaged: None, since_step: None }
    }

    /// Sets the name of the callback and of its part in checkpoints, `ema` by default: letters, digits, `_`
    /// and `-`. Several averages in a run need different names, and at most one of them
    /// [validates](Self::with_validates).
    ///
    /// ```no_run
    /// # use burn::train::LearnerModel;
    /// # use burn_trainer::Trainer;
    /// # fn averages<M: LearnerModel + 'static>(trainer: Trainer<M>) -> Trainer<M> {
    /// use burn_trainer::callbacks::Ema;
    ///
    /// trainer
    ///     .callback(Ema::new(0.999))
    ///     .callback(Ema::new(0.9999).with_name("ema_slow").with_validates(false))
    /// # }
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Averages after every `steps` optimizer steps.
    #[must_use]
    pub fn with_every_n_steps(mut self, steps: u64) -> Self {
        self.settings.every_n_steps = steps;
        self
    }

    /// Begins after this optimizer step: earlier parameters have no part in the average.
    #[must_use]
    pub fn with_start_step(mut self, step: u64) -> Self {
        self.settings.start_step = step;
        self
    }

    /// Sets whether the run validates with the averaged parameters (the default), so that the best checkpoint
    /// is that of the best average, or with those that it trains.
    #[must_use]
    pub fn with_validates(mut self, validates: bool) -> Self {
        self.settings.validates = validates;
        self
    }

    /// Validates a [named set](crate::Trainer::validation_set) with the parameters that the run trains, where
    /// the others are validated with the average. Given the data of the main set, a run has the numbers of
    /// both: `val_loss` of the average, and `val_raw_loss` on a set `raw`. Several sets can be named.
    #[must_use]
    pub fn with_trained_on(mut self, set: impl Into<String>) -> Self {
        self.trained_on.push(set.into());
        self
    }

    /// Says which settings were others in the checkpoint, in the form of those of the run.
    fn note_changes(&self, before: &EmaSettings) {
        let (name, now) = (&self.name, &self.settings);
        for (setting, before, now) in [
            ("decay", before.decay.to_string(), now.decay.to_string()),
            ("every_n_steps", before.every_n_steps.to_string(), now.every_n_steps.to_string()),
            ("start_step", before.start_step.to_string(), now.start_step.to_string()),
            ("validates", before.validates.to_string(), now.validates.to_string()),
        ] {
            if before != now {
                note(&format!("{name}.{setting} is {now}, was {before} in the checkpoint"));
            }
        }
    }

    /// The first step that counts.
    fn first_step(&self) -> u64 {
        self.settings.start_step.saturating_add(self.settings.every_n_steps)
    }

    fn update(&mut self, model: M, step: u64) {
        let decay = self.settings.decay;
        self.averaged = Some(match self.averaged.take() {
            None => {
                self.since_step = Some(step);
                model
            }
            Some(averaged) => {
                let mut now = Parameters(TensorContainer::new());
                model.visit(&mut now);
                averaged.map(&mut Averaging { now, decay })
            }
        });
    }
}

impl<M: LearnerModel> Callback<M> for Ema<M> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let EmaSettings { decay, every_n_steps, validates, .. } = self.settings;
        if !(0.0..1.0).contains(&decay) {
            return Err(format!("its decay is {decay}: it must be at least 0 and below 1").into());
        }
        if every_n_steps == 0 {
            return Err("it is to average every 0 steps: 1 is every step".into());
        }
        self.trained_on.iter().try_for_each(|set| context.check_validation_set(set))?;
        if validates {
            context.claim_validations()?;
            if context.validates() {
                let first = self.first_step();
                note(&format!(
                    "from step {first} on, the run validates with the averaged parameters of {}: val_ metrics are theirs",
                    self.name
                ));
            }
        }
        Ok(())
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let EmaSettings { every_n_steps, start_step, .. } = self.settings;
        let step = context.global_step();
        // The one step of a fast dev run is averaged, as the average is saved and loaded too.
        let is_due = step > start_step && (step - start_step).is_multiple_of(every_n_steps);
        if is_due || context.run().is_fast_dev_run {
            self.update(context.valid_model(), step);
        }
        Ok(())
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if let Some(averaged) = self.averaged.as_ref().filter(|_| self.settings.validates) {
            context.validate_with(averaged.clone());
        }
        self.trained_on.iter().try_for_each(|set| context.validate_trained_on(set))
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let is_done = context.ended().is_some_and(|ended| ended.outcome.is_done());
        if is_done && self.averaged.is_none() && context.global_step() > 0 {
            let (step, first) = (context.global_step(), self.first_step());
            warn(&format!(
                "{} has averaged nothing: it begins with step {first}, and the run ended with step {step}",
                self.name
            ));
        }
        Ok(())
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        let Self { settings, since_step, trained_on, .. } = self;
        let (settings, trained_on) = (settings.clone(), trained_on.clone());
        let value = EmaValue { settings, since_step: *since_step, trained_on };
        let state = CallbackState::new(VERSION).with_value(&value)?;
        Ok(self.averaged.as_ref().map(|averaged| state.with_module(averaged).also_with_weights_only()))
    }

    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        let Some(state) = state else {
            let reason = "the checkpoint has no average".to_owned();
            let has_begun = context.global_step() >= self.first_step();
            return Ok(if has_begun { Restored::FromStart(reason) } else { Restored::Complete });
        };
        let state = state.up_to_version(VERSION)?;
        // For those who look at it: the average is tensors alone.
        if let Ok(value) = state.value::<EmaValue>() {
            self.since_step = value.since_step;
            self.note_changes(&value.settings);
        }
        self.averaged = Some(state.load_into(context.valid_model())?);
        Ok(Restored::Complete)
    }
}

/// The parameters of a model.
struct Parameters(TensorContainer<ParamId>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

struct Averaging {
    now: Parameters,
    decay: f64,
}

impl ModuleMapper for Averaging {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.now.0.get::<Tensor<D>>(&param.id) {
            Some(now) => param.map(|average| {
                // An optimizer that is divided moves parameters between devices.
                let now = now.to_device(&average.device());
                average.mul_scalar(self.decay) + now.mul_scalar(1.0 - self.decay)
            }),
            None => param,
        }
    }
}
