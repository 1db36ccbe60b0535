//! Callbacks that several tests, and the soaked program, use.

use burn::tensor::Tensor;
use burn::train::{LearnerModel, TrainStep};
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, CallbackState, GradientMapper, Gradients, LoggedScalar,
    Restored,
};

use super::model::Model;

/// Multiplies a gradient of some optimizer steps by a factor: NaN or infinity, say.
pub struct Poison {
    /// By the step's epoch and its last batch in it.
    is_poisoned: Box<dyn Fn(u64, u64) -> bool + Send>,
    factor: f32,
}

impl Poison {
    /// Of the steps that end with these batches, each with its epoch.
    #[must_use]
    pub fn new(steps: &[(u64, u64)], factor: f32) -> Self {
        let steps = steps.to_vec();
        Self::when(move |epoch, batch| steps.contains(&(epoch, batch)), factor)
    }

    /// Of the steps of which a function says so, by their epoch and their last batch.
    #[must_use]
    pub fn when(is_poisoned: impl Fn(u64, u64) -> bool + Send + 'static, factor: f32) -> Self {
        Self { is_poisoned: Box::new(is_poisoned), factor }
    }
}

/// Multiplies the gradient of one of the parameters.
struct Times(f32);

impl GradientMapper for Times {
    fn map<const D: usize>(&mut self, path: &str, gradient: Tensor<D>) -> Tensor<D> {
        if path == "output.weight" { gradient.mul_scalar(self.0) } else { gradient }
    }
}

impl<M: LearnerModel> Callback<M> for Poison {
    fn name(&self) -> String {
        "poison".to_owned()
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        if (self.is_poisoned)(context.epoch(), context.batch()) {
            gradients.map(&mut Times(self.factor));
        }
        Ok(())
    }
}

/// Counts batches and validations, logs the counts, and changes the gradients by them. Its state must come
/// back with a resume.
#[derive(Default)]
pub struct Counting {
    batches: u64,
    validations: u64,
}

impl<M: LearnerModel> Callback<M> for Counting {
    fn name(&self) -> String {
        "counting".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![LoggedScalar::of_training("Seen"), LoggedScalar::of_validation("Validations")]
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        _: &<M as TrainStep>::Output,
    ) -> CallbackResult {
        self.batches += 1;
        // Not at every batch.
        if self.batches.is_multiple_of(3) {
            context.log("Seen", self.batches as f64)?;
        }
        Ok(())
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        let factor = 1.0 + (self.batches + self.validations) as f32 * 0.01;
        gradients.scale(&Tensor::from_floats([factor], &context.device().clone().inner()));
        Ok(())
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        // Of each set, in a validation of several.
        self.validations += u64::from(context.validation_set().is_none());
        context.log("Validations", self.validations as f64)
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(1).with_value(&(self.batches, self.validations))?))
    }

    fn restore(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        (self.batches, self.validations) = state.ok_or("it is not there")?.up_to_version(1)?.value()?;
        Ok(Restored::Complete)
    }
}

/// Ends the run at a step, and asks for it that one time.
pub struct StopOnceAt(
    /// The step.
    pub u64,
);

impl<M: LearnerModel> Callback<M> for StopOnceAt {
    fn name(&self) -> String {
        "stop_once_at".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if context.global_step() == self.0 {
            context.stop("this step is the last");
        }
        Ok(())
    }
}

/// Stores a given state under the name of another callback.
pub struct Storing {
    /// The name of the other callback.
    pub name: &'static str,
    /// What the checkpoints have.
    pub state: CallbackState,
}

impl Callback<Model> for Storing {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(self.state.clone()))
    }
}

/// Ends the run at every step.
pub struct AlwaysStops;

impl<M: LearnerModel> Callback<M> for AlwaysStops {
    fn name(&self) -> String {
        "always_stops".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        context.stop("at once");
        Ok(())
    }
}
