//! Care for the gradients: limits, their norm, and what happens with values that are not finite.

use std::ops::RangeInclusive;

use burn::tensor::{FloatDType, Tensor};
use burn::train::{LearnerModel, TrainStep};
use serde::{Deserialize, Serialize};

use super::batch_loss::{BatchLoss, LoggedLoss, LossBy, NoLoss};
use super::watched_values::{LateReader, WatchedStep};
use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::callbacks::gradients::Gradients;
use crate::callbacks::scalars::LoggedScalar;
use crate::error::CallbackResult;
use crate::learner_state::synchronous::is_synchronous;
use crate::process::console::warn;
use crate::process::progress::figures::count;
use crate::state::callback_state::CallbackState;

/// Version of the stored state.
const VERSION: u32 = 1;
/// The metric with the norm of the gradients.
const NORM: &str = "grad_norm";

/// What happens at a step whose loss or gradients are not finite: a setting of [`GradientGuard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NonFinite {
    /// The run ends with an error that names the step and its batches. See
    /// [`GradientGuard::with_checks_before_step`] for what is saved.
    Error,
    /// The step is left out. One more than `most_in_a_row` in a row is an error. This has to be known before
    /// the step, so the loop waits for the device at each step.
    Skip {
        /// How many steps in a row are left out at most.
        most_in_a_row: u64,
    },
    /// Nothing is checked.
    Off,
}

/// Limits gradients, logs their norm, and acts where they, or the loss, are not finite.
///
/// ```no_run
/// # use burn::train::{LearnerModel, RegressionOutput, TrainStep};
/// use burn_trainer::callbacks::{GradientGuard, NonFinite};
/// # fn guard<M: LearnerModel + TrainStep<Output = RegressionOutput>>(
/// #     trainer: burn_trainer::Trainer<M>,
/// # ) -> burn_trainer::Trainer<M> {
/// trainer.callback(GradientGuard::new().with_clip_norm(1.0).with_non_finite(NonFinite::Skip { most_in_a_row: 3 }))
/// # }
/// ```
///
/// The loss is that of [`MeanLoss`](crate::metric::MeanLoss): burn's outputs have one. For an output of your
/// own, implement [`MeanLossInput`](crate::metric::MeanLossInput)'s adaptor, or name the loss with
/// [`with_loss`](Self::with_loss).
///
/// The norm is the L2 norm of all gradients together, before they are limited; burn's optimizers can limit
/// that of each parameter alone. It is logged as `train_grad_norm`.
#[derive(Debug)]
pub struct GradientGuard<L = LoggedLoss> {
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    non_finite: NonFinite,
    logs_norm: bool,
    loss: L,
    /// `None`: where the device computes at once.
    checks_before_step: Option<bool>,
    counts: Counts,
    /// The first batch of the step.
    first_batch: u64,
    /// The losses of the step's batches so far, with their numbers in the epoch.
    losses: Vec<(u64, Tensor<1>)>,
    /// Of steps that are done. `None` where they are checked before.
    late: Option<LateReader>,
    /// How often the loop has waited for a value.
    waits: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// Steps that were left out.
    skipped: u64,
    /// Those in a row up to here.
    in_a_row: u64,
    /// Whether this process has said one on the terminal. The log has each.
    #[serde(skip)]
    is_said: bool,
}

impl Default for GradientGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl GradientGuard {
    /// Without limits: a loss or gradients that are not finite are an error, and the norm is logged.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clip_norm: None,
            clip_value: None,
            non_finite: NonFinite::Error,
            logs_norm: true,
            loss: LoggedLoss,
            checks_before_step: None,
            counts: Counts::default(),
            first_batch: 0,
            losses: Vec::new(),
            late: None,
            waits: 0,
        }
    }
}

impl<L> GradientGuard<L> {
    /// Scales all gradients down to this norm, if theirs is larger.
    #[must_use]
    pub fn with_clip_norm(mut self, max_norm: f64) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Limits every element to `-max_value..=max_value`, before the norm is limited.
    #[must_use]
    pub fn with_clip_value(mut self, max_value: f64) -> Self {
        self.clip_value = Some(max_value);
        self
    }

    /// Sets what happens with a loss or gradients that are not finite.
    #[must_use]
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.non_finite = non_finite;
        self
    }

    /// Sets whether the norm is logged.
    #[must_use]
    pub fn with_log_norm(mut self, logs_norm: bool) -> Self {
        self.logs_norm = logs_norm;
        self
    }

    /// Checks the loss that a function finds in the output of a training step.
    #[must_use]
    pub fn with_loss<Output, F: Fn(&Output) -> Tensor<1> + Send>(self, find: F) -> GradientGuard<LossBy<F>> {
        self.replacing_loss(LossBy(find))
    }

    /// Checks gradients alone.
    #[must_use]
    pub fn without_loss(self) -> GradientGuard<NoLoss> {
        self.replacing_loss(NoLoss)
    }

    fn replacing_loss<Other>(self, loss: Other) -> GradientGuard<Other> {
        let Self { clip_norm, clip_value, non_finite, logs_norm, checks_before_step, .. } = self;
        let Self { counts, first_batch, losses, late, waits, .. } = self;
        GradientGuard {
            clip_norm,
            clip_value,
            non_finite,
            logs_norm,
            loss,
            checks_before_step,
            counts,
            first_batch,
            losses,
            late,
            waits,
        }
    }

    /// Sets whether [`NonFinite::Error`] is found before the optimizer step, or after it.
    ///
    /// Before it, the state that is saved with the error is that of the step before, which is finite; the
    /// loop waits for the device at each step. That is the default where the device computes at once
    /// (`flex`), and nothing is lost.
    ///
    /// After it, nothing waits: the values are read on another thread, and the error comes with one of the
    /// next steps, or before the next save or validation. That is the default on all other devices. The
    /// parameters are not finite by then. What is saved with the error is there to be looked at, and `auto`
    /// resumes from the newest finite checkpoint.
    #[must_use]
    pub fn with_checks_before_step(mut self, before: bool) -> Self {
        self.checks_before_step = Some(before);
        self
    }

    /// How often the loop has waited for the device, or for the thread that reads it. For measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// Acts on what is not finite before a step. Returns whether the step is left out.
    fn leaves_out(&mut self, found: Option<String>) -> CallbackResult<bool> {
        let Some(found) = found else {
            self.counts.in_a_row = 0;
            return Ok(false);
        };
        match self.non_finite {
            NonFinite::Skip { most_in_a_row } if self.counts.in_a_row < most_in_a_row => {
                self.counts.in_a_row += 1;
                self.counts.skipped += 1;
                let left_out = format!("{found}: the step is left out");
                // What they come to is said at the end.
                match std::mem::replace(&mut self.counts.is_said, true) {
                    false => warn(&left_out),
                    true => log::warn!("{left_out}"),
                }
                Ok(true)
            }
            NonFinite::Skip { most_in_a_row } => {
                Err(format!(
                    "{found}, after {most_in_a_row} steps in a row that were left out: look at those batches and the learning rate, or \
                     allow more with most_in_a_row"
                )
                .into())
            }
            NonFinite::Error => Err(format!(
                "{found}: look at those batches and the learning rate, limit gradients with clip_norm, or have such steps left out \
                 with NonFinite::Skip"
            )
            .into()),
            NonFinite::Off => Ok(false),
        }
    }

    /// Reads the values of a step: before it, or later.
    fn watch(&mut self, step: Option<WatchedStep>) -> CallbackResult<bool> {
        let Some(step) = step else { return Ok(false) };
        match &mut self.late {
            None => {
                self.waits += 1;
                let found = step.read()?;
                self.leaves_out(found)
            }
            Some(late) => {
                let found = late.found()?;
                late.add(step)?;
                done_already(found)?;
                Ok(false)
            }
        }
    }

    /// Waits for the values of all steps that are done.
    fn settle(&mut self) -> CallbackResult {
        let Some(late) = &mut self.late else { return Ok(()) };
        let found = late.found()?;
        self.waits += u64::from(late.is_waiting());
        done_already(match found {
            Some(found) => Some(found),
            None => late.found_in_all()?,
        })
    }
}

/// The error for what a step had that is done.
fn done_already(found: Option<String>) -> CallbackResult {
    let Some(found) = found else { return Ok(()) };
    Err(format!(
        "{found}, which was seen after the step: what is saved now may not be finite, and auto resumes from the newest checkpoint that \
         is. Look at those batches and the learning rate, limit gradients with clip_norm, or have such steps left out with \
         NonFinite::Skip"
    )
    .into())
}

impl<M: LearnerModel, L: BatchLoss<<M as TrainStep>::Output>> Callback<M> for GradientGuard<L> {
    fn name(&self) -> String {
        "gradient_guard".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        if self.logs_norm { vec![LoggedScalar::of_training(NORM).lower_is_better()] } else { Vec::new() }
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.first_batch = context.batch() + 1;
        for (what, limit) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            if let Some(limit) = limit.filter(|limit| !(*limit > 0.0 && limit.is_finite())) {
                return Err(format!("{what} is {limit}: it must be above 0 and finite").into());
            }
        }
        let before = self.checks_before_step.unwrap_or_else(|| is_synchronous(context.device()));
        if self.non_finite == NonFinite::Error && !before {
            self.late = Some(LateReader::start()?);
        }
        Ok(())
    }

    fn on_epoch_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.first_batch = context.batch() + 1;
        Ok(())
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        output: &<M as TrainStep>::Output,
    ) -> CallbackResult {
        if self.non_finite == NonFinite::Off {
            return Ok(());
        }
        if context.batch() <= self.first_batch {
            // Those before belong to batches that a failure or a stop has left without a step.
            self.losses.clear();
        }
        let loss = self.loss.of(output).map(|loss| loss.inner().cast(FloatDType::F32).mean());
        self.losses.extend(loss.map(|loss| (context.batch(), loss)));
        Ok(())
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        let batches: RangeInclusive<u64> = self.first_batch..=context.batch();
        self.first_batch = context.batch() + 1;
        let losses = std::mem::take(&mut self.losses);
        if !self.logs_norm && self.non_finite == NonFinite::Off && self.clip_norm.is_none() {
            if let Some(limit) = self.clip_value {
                gradients.clip_value(limit);
            }
            return Ok(());
        }
        let norm = gradients.norm();
        if self.non_finite != NonFinite::Off {
            let step = context.global_step() + 1;
            if self.watch(WatchedStep::new(step, batches, losses, norm.clone()))? {
                gradients.skip_step();
                return Ok(());
            }
        }
        if let Some(norm) = norm.clone().filter(|_| self.logs_norm) {
            context.log(NORM, norm)?;
        }
        if let Some(limit) = self.clip_value {
            gradients.clip_value(limit);
        }
        match (self.clip_norm, self.clip_value, norm) {
            // The norm is known.
            (Some(limit), None, Some(norm)) => gradients.scale_to(limit, norm),
            (Some(limit), Some(_), _) => drop(gradients.clip_norm(limit)),
            _ => {}
        }
        Ok(())
    }

    fn on_validation_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.settle()
    }

    fn on_epoch_end(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.settle()
    }

    fn on_before_save(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.settle()
    }

    fn on_exception(&mut self, _: &mut CallbackContext<'_, M>, _: &crate::Error) -> CallbackResult {
        // The failure is the one to report, and what is not read may be on a device that has failed.
        self.late = None;
        Ok(())
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if let skipped @ 1.. = self.counts.skipped {
            let steps = count(context.global_step().saturating_add(skipped), "step");
            warn(&format!("{skipped} of {steps} were left out, as a loss or gradient was not finite"));
        }
        self.settle()
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
        Ok(Restored::Complete)
    }
}
