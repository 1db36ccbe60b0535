//! A callback in a box, for a list that a program chooses by its configuration.

use burn::train::{LearnerModel, TrainStep};
use burn_ckpt::metrics_log::Line;

use super::callback::{Callback, Restored};
use super::context::CallbackContext;
use super::gradients::Gradients;
use super::scalars::LoggedScalar;
use crate::error::{CallbackResult, Error};
use crate::saving::checkpoint_events::CheckpointInfo;
use crate::state::callback_state::CallbackState;

impl<M: LearnerModel> Callback<M> for Box<dyn Callback<M>> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        (**self).scalars()
    }

    fn watched_metrics(&self) -> Vec<String> {
        (**self).watched_metrics()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_fit_start(context)
    }

    fn on_epoch_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_epoch_start(context)
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        output: &<M as TrainStep>::Output,
    ) -> CallbackResult {
        (**self).on_train_batch_end(context, output)
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        gradients: &mut Gradients<'_, M>,
    ) -> CallbackResult {
        (**self).on_before_optimizer_step(context, gradients)
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_train_step_end(context)
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_validation_start(context)
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_validation_batches_end(context)
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_validation_end(context)
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_epoch_end(context)
    }

    fn on_before_save(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_before_save(context)
    }

    fn on_logged(&mut self, context: &mut CallbackContext<'_, M>, lines: &[Line]) -> CallbackResult {
        (**self).on_logged(context, lines)
    }

    fn on_checkpoint_saved(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        (**self).on_checkpoint_saved(context, checkpoint)
    }

    fn on_best_changed(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        strategy: &str,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        (**self).on_best_changed(context, strategy, checkpoint)
    }

    fn on_checkpoint_deleted(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        (**self).on_checkpoint_deleted(context, checkpoint)
    }

    fn on_exception(&mut self, context: &mut CallbackContext<'_, M>, error: &Error) -> CallbackResult {
        (**self).on_exception(context, error)
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        (**self).on_fit_end(context)
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        (**self).state()
    }

    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        (**self).restore(context, state)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_method_is_passed_on() {
        let methods = |text: &str, start: &str| -> Vec<String> {
            let body = text.split_once(start).unwrap().1;
            let names = body.lines().filter_map(|line| line.strip_prefix("    fn "));
            names.filter_map(|line| Some(line.split_once('(')?.0.to_owned())).collect()
        };
        let own = include_str!("boxed.rs").split_once("#[cfg(test)]").unwrap().0;
        let passed_on = methods(own, "for Box<dyn Callback<M>>");
        assert_eq!(passed_on, methods(include_str!("callback.rs"), "pub trait Callback"));
        assert!(passed_on.len() > 15);
    }
}
