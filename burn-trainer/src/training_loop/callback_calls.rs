//! Where the loop calls the callbacks.

use std::cell::RefCell;

use burn::optim::GradientsParams;
use burn::train::LearnerModel;

use super::loop_state::LoopState;
use super::parts::loop_callbacks::LoopCallbacks;
use super::parts::multi_device::SummedGradients;
use crate::callbacks::context::RunView;
use crate::callbacks::registered::Callbacks;
use crate::callbacks::scalars::LoggedSplit;
use crate::callbacks::{Callback, CallbackContext, CallbackResult, Gradients};
use crate::error::Result;
use crate::saving::checkpoint_events::CheckpointEvents;
use crate::state::resume_point::ResumePoint;

impl<M: LearnerModel> LoopState<'_, M> {
    /// Puts the states of the callbacks back, from the checkpoint that the run resumes from.
    pub(super) fn restore_callbacks(&mut self, resume: &mut ResumePoint) -> Result<()> {
        let batch = self.progress.position.batches;
        self.with_view(None, batch, |callbacks, run| callbacks.restore(resume, run))
    }

    /// Calls a method of all callbacks. `split` says what they can log now, and `batch` how many batches of
    /// the epoch are computed.
    pub(super) fn call(
        &mut self,
        method: &'static str,
        split: Option<LoggedSplit>,
        batch: u64,
        call: impl FnMut(&mut dyn Callback<M>, &mut CallbackContext<'_, M>) -> CallbackResult,
    ) -> Result<()> {
        if self.callbacks.is_empty() {
            return Ok(());
        }
        self.with_view(split, batch, |callbacks, run| callbacks.each(method, run, call))
    }

    fn with_view(
        &mut self,
        split: Option<LoggedSplit>,
        batch: u64,
        work: impl FnOnce(&mut Callbacks<M>, RunView<'_, M>) -> Result<()>,
    ) -> Result<()> {
        let Self { learner, burn, progress, rules, metrics, callbacks, .. } = self;
        let LoopCallbacks { callbacks, device, info, ended, .. } = callbacks;
        let reporter = RefCell::new(&mut *burn);
        let read_metrics = || {
            reporter.borrow_mut().flush();
            metrics.values()
        };
        let run = RunView {
            epoch: progress.position.epoch,
            max_epochs: rules.max_epochs,
            validates: rules.validates(),
            never_due: rules.never_due,
            why_never_due: &|| Self::why_never_due(progress, rules),
            was_validated: progress.position.last_validation.is_some(),
            global_step: progress.position.global_step,
            next_end: progress.position.next_end(),
            may_end_at: &|position| rules.limits.may_end_at(position),
            batch,
            split,
            learner: learner.get(),
            learning_rate: learner.learning_rate().base(),
            device,
            info,
            ended: ended.as_ref(),
            metrics,
            read_metrics: &read_metrics,
        };
        work(callbacks, run)
    }

    /// Calls a method of the callbacks between steps, where nothing can be logged.
    pub(super) fn call_between(
        &mut self,
        method: &'static str,
        call: impl FnMut(&mut dyn Callback<M>, &mut CallbackContext<'_, M>) -> CallbackResult,
    ) -> Result<()> {
        let batch = self.progress.position.batches;
        self.call(method, None, batch, call)
    }

    /// Shows the gradients of a step to the callbacks, which can change them. Returns whether the step is
    /// left out.
    pub(super) fn call_before_step(&mut self, gradients: &mut SummedGradients, batch: u64) -> Result<bool> {
        if self.callbacks.is_empty() {
            return Ok(false);
        }
        let model = self.learner.get().model();
        let device = self.callbacks.device.clone().inner();
        let by_device: &mut [GradientsParams] = &mut gradients.0;
        let mut gradients = Gradients::new(&model, by_device, &device);
        self.call("on_before_optimizer_step", Some(LoggedSplit::Training), batch, |callback, context| {
            callback.on_before_optimizer_step(context, &mut gradients)
        })?;
        Ok(gradients.is_skipped())
    }

    /// Tells the callbacks what was logged, and what the writer has done, since they were told last.
    pub(super) fn call_events_since(&mut self) -> Result<()> {
        if self.callbacks.is_empty() {
            // A long run has many.
            drop(self.saves.lock().take_events());
            return Ok(());
        }
        self.call_logged()?;
        let events = self.saves.lock().take_events();
        self.call_events(&events)
    }

    /// Shows the callbacks the lines that were logged since the last call.
    pub(super) fn call_logged(&mut self) -> Result<()> {
        let lines = self.metrics.log.take_collected();
        if lines.is_empty() {
            return Ok(());
        }
        self.call_between("on_logged", |callback, context| callback.on_logged(context, &lines))
    }

    pub(super) fn call_events(&mut self, events: &CheckpointEvents) -> Result<()> {
        for saved in &events.saved {
            self.call_between("on_checkpoint_saved", |callback, context| {
                callback.on_checkpoint_saved(context, saved)
            })?;
        }
        for (strategy, best) in &events.best {
            self.call_between("on_best_changed", |callback, context| {
                callback.on_best_changed(context, strategy, best)
            })?;
        }
        for deleted in &events.deleted {
            self.call_between("on_checkpoint_deleted", |callback, context| {
                callback.on_checkpoint_deleted(context, deleted)
            })?;
        }
        Ok(())
    }
}
