//! Second copies of states that are being written, held by the loop's thread.
//!
//! On backends whose tensors are names for what another thread or machine has (burn's fusion and remote engines), the last
//! owner of a name tells the other side to forget it, and an owner counts as gone a moment before what it asked for is
//! sent. Two threads that use copies of one tensor can so get into each other's way: the one forgets the tensor
//! that the other is about to ask for, and training ends with "Should have handle for tensor". With one more copy here, the
//! writer's thread is never the last owner, and neither is the loop as long as the writer reads. On flex a
//! tensor is its memory, and a copy would only keep that from being handed over.

use std::cell::RefCell;

use burn::tensor::Device;
use burn::train::{Learner, LearnerModel};
use burn_environment::device_name;

/// The copies, each with the optimizer step that it is of.
pub(crate) struct KeepAlive<M: LearnerModel> {
    is_needed: bool,
    kept: RefCell<Vec<(u64, Kept<M>)>>,
}

type Kept<M> = (M, Option<Learner<M>>);

impl<M: LearnerModel> KeepAlive<M> {
    /// For states on these devices.
    pub(crate) fn new(devices: &[Device]) -> Self {
        let is_needed = devices.iter().any(|device| !["Flex", "NdArray"].contains(&&*device_name(device)));
        Self { is_needed, kept: RefCell::default() }
    }

    /// Copies what is about to be handed to the writer.
    pub(crate) fn keep(&self, step: u64, model: &M, learner: Option<&Learner<M>>) {
        if self.is_needed {
            self.kept.borrow_mut().push((step, (model.clone(), learner.cloned())));
        }
    }

    /// Drops the copies of the states before this step: the writer has done with them.
    pub(crate) fn release_before(&self, step: u64) {
        self.kept.borrow_mut().retain(|(kept, _)| *kept >= step);
    }
}
