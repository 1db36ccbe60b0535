//! The callbacks in the loop: their states at the position of the learner's state.

use burn::tensor::Device;
use burn::train::LearnerModel;

use crate::callbacks::registered::Callbacks;
use crate::error::Result;
use crate::state::callback_state::CallbackStates;
use crate::state::end_reason::{EndReason, StopRequest};
use crate::state::run_info::{RunEnd, RunInfo};

/// The callbacks of one call of `fit`.
pub(in crate::training_loop) struct LoopCallbacks<M: LearnerModel> {
    pub(in crate::training_loop) callbacks: Callbacks<M>,
    pub(in crate::training_loop) device: Device,
    pub(in crate::training_loop) info: RunInfo,
    /// How the run ended, once it has.
    pub(in crate::training_loop) ended: Option<RunEnd>,
    /// Their states at the position of the learner's state. `None` while that changes.
    states: Option<CallbackStates>,
}

impl<M: LearnerModel> LoopCallbacks<M> {
    pub(in crate::training_loop) fn new(callbacks: Callbacks<M>, device: &Device, info: RunInfo) -> Self {
        Self { callbacks, device: device.clone(), info, ended: None, states: None }
    }

    pub(in crate::training_loop) fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Drops the request to end the run: it came too early.
    pub(in crate::training_loop) fn forget_stop(&mut self) {
        self.callbacks.requests.stop = None;
        self.states.iter_mut().for_each(CallbackStates::forget_stop);
    }

    /// Puts a request to end the run back: one that was made for the step that is done now, or before a
    /// resume.
    pub(in crate::training_loop) fn restore_stop(&mut self, stop: Option<EndReason>) {
        self.callbacks.requests.stop = stop;
    }

    /// The same of a checkpoint.
    pub(in crate::training_loop) fn resume_stop(&mut self, stop: Option<StopRequest>) {
        self.restore_stop(stop.map(EndReason::from));
    }

    /// Why one of them ends the run.
    pub(in crate::training_loop) fn stop(&self) -> Option<&EndReason> {
        self.callbacks.requests.stop.as_ref()
    }

    /// The model for the validation that begins, if one of them has one.
    pub(in crate::training_loop) fn take_validated(&mut self) -> Option<M> {
        self.callbacks.requests.validated.take()
    }

    /// The named validation sets on which the trained model is validated all the same.
    pub(in crate::training_loop) fn take_trained_on(&mut self) -> Vec<String> {
        std::mem::take(&mut self.callbacks.requests.trained_on)
    }

    /// By what the scheduler's rate is multiplied in the next step. A save has that of the states.
    pub(in crate::training_loop) fn rate_scale(&self) -> f64 {
        self.callbacks.requests.rate_scale
    }

    /// Puts that back, of a run that resumes.
    pub(in crate::training_loop) fn restore_rate_scale(&mut self, scale: f64) {
        self.callbacks.requests.rate_scale = scale;
    }

    /// Their states at the position of the learner's state. In the middle of a change, after a failure, those
    /// of now.
    pub(in crate::training_loop) fn states(&mut self) -> Result<CallbackStates> {
        match &self.states {
            Some(states) => Ok(states.clone()),
            None => self.callbacks.states(),
        }
    }

    /// Notes their states, as the learner's state is that of a position again.
    pub(in crate::training_loop) fn settle(&mut self) -> Result<CallbackStates> {
        let states = self.callbacks.states()?;
        self.states = Some(states.clone());
        Ok(states)
    }

    /// The state is about to change. What they have noted for a save is dropped, so that they can work in
    /// place, too. Returns the request to end the run with the changed state: it is not in one that is saved
    /// before that, after a failure.
    pub(in crate::training_loop) fn unsettle(&mut self) -> Option<EndReason> {
        self.states = None;
        self.callbacks.forget_states();
        self.callbacks.requests.stop.take()
    }
}
