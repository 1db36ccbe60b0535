//! Second copies of the states that are being written, owned by the loop's thread.
//!
//! With burn's fusion and remote engines a tensor is a handle for data on another thread or machine. The last
//! owner of a handle releases the data, and an owner counts as gone a moment before its last request is sent.
//! So of two threads with copies of one tensor, one can release the data that the other is about to read.
//! Training then ends with "Should have handle for tensor". With one more copy here, the writer's thread is
//! never the last owner, and neither is the loop while the writer reads. On flex a tensor is its memory,
//! where a copy would only prevent reuse.

use std::cell::RefCell;

use burn::tensor::Device;
use burn::train::{Learner, LearnerModel};

use super::synchronous::is_synchronous;
use crate::state::callback_state::CallbackStates;

/// The copies, each with its optimizer step.
pub(crate) struct KeepAlive<M: LearnerModel> {
    is_needed: bool,
    kept: RefCell<Vec<(u64, Kept<M>)>>,
}

type Kept<M> = (M, Option<Learner<M>>, CallbackStates);

impl<M: LearnerModel> KeepAlive<M> {
    /// For states on these devices.
    pub(crate) fn new(devices: &[Device]) -> Self {
        let is_needed = !devices.iter().all(is_synchronous);
        Self { is_needed, kept: RefCell::default() }
    }

    /// Copies the state that is handed to the writer next.
    pub(crate) fn keep(
        &self,
        step: u64,
        model: &M,
        learner: Option<&Learner<M>>,
        callbacks: &CallbackStates,
    ) {
        if self.is_needed {
            self.kept.borrow_mut().push((step, (model.clone(), learner.cloned(), callbacks.clone())));
        }
    }

    /// Drops the copies of the states before this step. The writer has written them.
    pub(crate) fn release_before(&self, step: u64) {
        self.kept.borrow_mut().retain(|(kept, _)| *kept >= step);
    }
}
