//! Care for the gradients: limits, their norm, and what happens with values that are not finite.

use burn::tensor::Tensor;
use burn::train::LearnerModel;
use serde::{Deserialize, Serialize};

use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::callbacks::gradients::Gradients;
use crate::callbacks::scalars::LoggedScalar;
use crate::error::CallbackResult;
use crate::state::callback_state::CallbackState;

/// Version of the stored state.
const VERSION: u32 = 1;
/// The metric with the norm of the gradients.
const NORM: &str = "grad_norm";

/// What happens at a step whose gradients are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NonFinite {
    /// The run ends with an error that names the step and its batches. The state before the step is saved.
    Error,
    /// The step is left out, at most so many times in a row. After that it is an error.
    Skip {
        /// How many steps in a row.
        most_in_a_row: u64,
    },
    /// Nothing is checked.
    Off,
}

/// Limits gradients, logs their norm, and acts where they are not finite.
///
/// ```no_run
/// # use burn::train::LearnerModel;
/// use burn_trainer::callbacks::{GradientGuard, NonFinite};
/// # fn guard<M: LearnerModel>(trainer: burn_trainer::Trainer<M>) -> burn_trainer::Trainer<M> {
/// trainer.callback(GradientGuard::new().clip_norm(1.0).non_finite(NonFinite::Skip { most_in_a_row: 3 }))
/// # }
/// ```
///
/// Unless [`NonFinite::Off`] is set, the norm is read at each step: on a GPU the loop waits there for the step.
///
/// The norm is the L2 norm of all gradients together, before they are limited; burn's optimizers can limit that of each parameter
/// alone. It is logged as `train_grad_norm`.
#[derive(Debug, Clone)]
pub struct GradientGuard {
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    non_finite: NonFinite,
    logs_norm: bool,
    counts: Counts,
    /// The first batch of the step.
    first_batch: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// Steps that were left out.
    skipped: u64,
    /// Those in a row up to here.
    in_a_row: u64,
}

impl Default for GradientGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl GradientGuard {
    /// Without limits: gradients that are not finite are an error, and the norm is logged.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clip_norm: None,
            clip_value: None,
            non_finite: NonFinite::Error,
            logs_norm: true,
            counts: Counts::default(),
            first_batch: 0,
        }
    }

    /// Scales all gradients down to this norm, if theirs is larger.
    #[must_use]
    pub fn clip_norm(mut self, max_norm: f64) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Limits every element to `-max_value..=max_value`, before the norm is limited.
    #[must_use]
    pub fn clip_value(mut self, max_value: f64) -> Self {
        self.clip_value = Some(max_value);
        self
    }

    /// Sets what happens with gradients that are not finite.
    #[must_use]
    pub fn non_finite(mut self, non_finite: NonFinite) -> Self {
        self.non_finite = non_finite;
        self
    }

    /// Sets whether the norm is logged.
    #[must_use]
    pub fn log_norm(mut self, logs_norm: bool) -> Self {
        self.logs_norm = logs_norm;
        self
    }

    /// Acts on a norm that is not finite. Returns whether the step is left out.
    fn leaves_out(
        &mut self,
        step: u64,
        batches: std::ops::RangeInclusive<u64>,
        norm: f64,
    ) -> CallbackResult<bool> {
        if norm.is_finite() {
            self.counts.in_a_row = 0;
            return Ok(false);
        }
        let (first, last) = (batches.start(), batches.end());
        let what = format!(
            "the norm of the gradients of step {step} (batches {first} to {last} of the epoch) is {norm}"
        );
        match self.non_finite {
            NonFinite::Skip { most_in_a_row } if self.counts.in_a_row < most_in_a_row => {
                self.counts.in_a_row += 1;
                self.counts.skipped += 1;
                log::warn!("{what}: the step is left out");
                Ok(true)
            }
            NonFinite::Skip { most_in_a_row } => {
                Err(format!("{what}, after {most_in_a_row} steps in a row that were left out").into())
            }
            NonFinite::Error => Err(format!(
                "{what}: look at those batches and the learning rate, limit gradients with clip_norm, or have such steps left out \
                 with NonFinite::Skip"
            )
            .into()),
            NonFinite::Off => Ok(false),
        }
    }
}

impl<M: LearnerModel> Callback<M> for GradientGuard {
    fn name(&self) -> String {
        "gradient_guard".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        if self.logs_norm { vec![LoggedScalar::of_training(NORM)] } else { Vec::new() }
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.first_batch = context.batch() + 1;
        for (what, limit) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            if let Some(limit) = limit.filter(|limit| !(*limit > 0.0 && limit.is_finite())) {
                return Err(format!("{what} is {limit}: it must be above 0 and finite").into());
            }
        }
        Ok(())
    }

    fn on_epoch_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.first_batch = context.batch() + 1;
        Ok(())
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        let batches = self.first_batch..=context.batch();
        self.first_batch = context.batch() + 1;
        if !self.logs_norm && self.non_finite == NonFinite::Off && self.clip_norm.is_none() {
            self.clip_value.into_iter().for_each(|limit| gradients.clip_value(limit));
            return Ok(());
        }
        let Some(norm) = gradients.norm() else { return Ok(()) };
        if self.logs_norm {
            context.log(NORM, norm.clone())?;
        }
        if self.non_finite != NonFinite::Off {
            let step = context.global_step() + 1;
            if self.leaves_out(step, batches, read(norm.clone())?)? {
                gradients.skip_step();
                return Ok(());
            }
        }
        self.clip_value.into_iter().for_each(|limit| gradients.clip_value(limit));
        match (self.clip_norm, self.clip_value) {
            (None, _) => {}
            // The norm is known.
            (Some(limit), None) => gradients.scale_to(limit, norm),
            (Some(limit), Some(_)) => drop(gradients.clip_norm(limit)),
        }
        Ok(())
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(VERSION).with_value(&self.counts)?))
    }

    fn restore(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        // A run that had no guard before has left out no step.
        self.counts = match state {
            Some(state) => state.up_to_version(VERSION)?.value()?,
            None => Counts::default(),
        };
        Ok(Restored::Whole)
    }
}

fn read(value: Tensor<1>) -> CallbackResult<f64> {
    Ok(value.try_into_scalar::<f64>()?)
}
