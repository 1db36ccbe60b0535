//! The trait of a callback.

use burn::train::{LearnerModel, TrainStep};
use burn_ckpt::metrics_log::Line;

use super::context::CallbackContext;
use super::gradients::Gradients;
use super::scalars::LoggedScalar;
use crate::error::{CallbackResult, Error};
use crate::saving::checkpoint_events::CheckpointInfo;
use crate::state::callback_state::CallbackState;

/// Whether a callback has the state that it had in the checkpoint. [`Callback`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restored {
    /// It has.
    Complete,
    /// It starts without a state, for this reason. A warning says so.
    FromStart(String),
}

/// Code of a program's own at the events of a run. Give it to
/// [`Trainer::callback`](crate::Trainer::callback).
///
/// Every method but [`name`](Self::name) does nothing by default. They are called on the loop's thread, in
/// the order in which the callbacks were given. The order in a run:
///
/// ```text
/// restore (of a run that resumes)
/// on_fit_start                           then state
///   on_epoch_start
///     on_train_batch_end                 for each batch
///     on_before_optimizer_step           when the gradients of a step are complete
///     on_train_step_end                  when the parameters are updated
///     state                              after each step, also one that is left out
///   on_validation_start
///   on_validation_batches_end            when all batches of a validation set are computed, for each set
///   on_validation_end                    when the metrics of all sets are final; then state
///   on_epoch_end                         then state; not for an epoch that a limit or a callback ends within
///   on_before_save                       before each save of a step, a validation, an epoch or a stop
/// on_exception                           if training fails
/// on_fit_end                             always
/// ```
///
/// [`on_checkpoint_saved`](Self::on_checkpoint_saved), [`on_best_changed`](Self::on_best_changed) and
/// [`on_checkpoint_deleted`](Self::on_checkpoint_deleted) come between steps, when the writer has done that:
/// one step later, or some. So does [`on_logged`](Self::on_logged): burn computes metrics on another thread.
///
/// What changes with the steps belongs into [`state`](Self::state): it is stored in every checkpoint that can
/// be resumed, and comes back with [`restore`](Self::restore). A run that was killed anywhere then ends as
/// one that was not.
///
/// # Example: stop when the loss of a batch is low, counting the times
///
/// ```
/// use burn::train::{LearnerModel, RegressionOutput, TrainStep};
/// use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CallbackState, Restored};
///
/// #[derive(Default)]
/// struct StopAtLowLoss {
///     count: u32,
/// }
///
/// impl<M: LearnerModel + TrainStep<Output = RegressionOutput>> Callback<M> for StopAtLowLoss {
///     fn name(&self) -> String {
///         "stop_at_low_loss".to_owned()
///     }
///
///     fn on_train_batch_end(
///         &mut self,
///         context: &mut CallbackContext<'_, M>,
///         output: &RegressionOutput,
///     ) -> CallbackResult {
///         let loss: f32 = output.loss.clone().into_scalar();
///         self.count += u32::from(loss < 0.01);
///         if self.count >= 10 {
///             context.stop("ten batches had a loss below 0.01");
///         }
///         Ok(())
///     }
///
///     fn state(&self) -> CallbackResult<Option<CallbackState>> {
///         Ok(Some(CallbackState::new(1).with_value(&self.count)?))
///     }
///
///     fn restore(
///         &mut self,
///         _: &mut CallbackContext<'_, M>,
///         state: Option<CallbackState>,
///     ) -> CallbackResult<Restored> {
///         match state {
///             Some(state) => self.count = state.up_to_version(1)?.value()?,
///             None => return Ok(Restored::FromStart("the checkpoint has no count".to_owned())),
///         }
///         Ok(Restored::Complete)
///     }
/// }
/// ```
#[expect(unused_variables, reason = "the methods do nothing by default")]
pub trait Callback<M: LearnerModel>: Send {
    /// A name that no other callback of the run has: letters, digits, `_` and `-`. Its state is in the
    /// checkpoint's section `user.<name>`.
    fn name(&self) -> String;

    /// The metrics that it logs with [`CallbackContext::log`]. They are registered before training, as every
    /// metric is.
    fn scalars(&self) -> Vec<LoggedScalar> {
        Vec::new()
    }

    /// The metrics that it looks at, by their names (`val_loss`). A name that no metric has is an error
    /// before the first step, and a metric that its split does not log is one at the first batch of that
    /// split.
    fn watched_metrics(&self) -> Vec<String> {
        Vec::new()
    }

    /// Training begins, or continues after a resume.
    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// The training of an epoch begins. A run that resumes within an epoch has begun it before.
    fn on_epoch_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// A batch is computed: `output` is what the model's training step returned. Its gradients are not
    /// applied yet.
    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        output: &<M as TrainStep>::Output,
    ) -> CallbackResult {
        Ok(())
    }

    /// The gradients of an optimizer step are complete: those of all its batches, on all devices. They can be
    /// changed.
    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        Ok(())
    }

    /// An optimizer step is done. [`CallbackContext::model`] has the new parameters.
    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// A validation begins. It is called once, before the first of the [validation
    /// sets](crate::Trainer::validation_set).
    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// The batches of a validation set are computed. In a run with [several](crate::Trainer::validation_set)
    /// it is called for each: [`CallbackContext::validation_set`] has the name. This is the last place to log
    /// metrics of the set. What is logged for the set `hard` as `gap` is `val_hard_gap`.
    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// A validation is done. It is called once, after the last set. [`CallbackContext::metrics`] has the
    /// values of all.
    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// An epoch is done, validation included.
    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// The state after a step, a validation or an epoch is about to be saved. An error ends the run before
    /// that save; what is saved then is the state of a failure. Not called before the save of a failure, or
    /// of a stop that the loop does not see.
    fn on_before_save(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// Values were logged: these are the new lines of the run's `metrics.jsonl`, in its order, those of
    /// batches, of validations and of epochs. All of them have come before
    /// [`on_fit_end`](Self::on_fit_end). A run that resumes logs what follows its checkpoint;
    /// [`RunInfo::logged_before`](super::RunInfo::logged_before) has the lines up to there. A process that
    /// does not write the run's files has no lines.
    fn on_logged(&mut self, context: &mut CallbackContext<'_, M>, lines: &[Line]) -> CallbackResult {
        Ok(())
    }

    /// A checkpoint is durable under its final name.
    fn on_checkpoint_saved(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        Ok(())
    }

    /// A strategy has a new best (or newest) checkpoint, which is durable, and the strategy's link leads to
    /// it. `strategy` is its name: `best:val_loss`. That metric's value is among
    /// [`CheckpointInfo::metrics`].
    fn on_best_changed(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        strategy: &str,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        Ok(())
    }

    /// A checkpoint that no strategy keeps is deleted: `checkpoint` says what it was. It can be one of an
    /// earlier start.
    fn on_checkpoint_deleted(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        Ok(())
    }

    /// Training has failed. The state before it is saved after this.
    fn on_exception(&mut self, context: &mut CallbackContext<'_, M>, error: &Error) -> CallbackResult {
        Ok(())
    }

    /// Training ends: done, stopped or failed. Everything that was to be saved is on disk, or failed.
    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        Ok(())
    }

    /// What to store in a checkpoint. Called after every step, so it should copy or read no tensor: a clone
    /// of a burn tensor shares its memory.
    ///
    /// # Errors
    ///
    /// Any error ends the run.
    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(None)
    }

    /// Puts back what [`state`](Self::state) has stored, before [`on_fit_start`](Self::on_fit_start) of a run
    /// that resumes. `None` if the checkpoint has no part of this name. By default, a part that is there is
    /// an error, as it would be lost.
    ///
    /// # Errors
    ///
    /// Any error ends the run before its first step. A callback that can start without a state returns
    /// [`Restored::FromStart`].
    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        match state {
            None => Ok(Restored::Complete),
            Some(_) => {
                Err("it stores a state, and does not say how that comes back: implement Callback::restore"
                    .into())
            }
        }
    }
}
