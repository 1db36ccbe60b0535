//! The learning rates at a position of a run.

use burn::train::{Learner, LearnerModel};

use crate::lr_scheduler::with_scale;

/// The learning rates of the parameters that are in no group of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LearningRates {
    /// Of the last optimizer step.
    pub(crate) last: f64,
    /// Of the next one.
    pub(crate) next: f64,
    /// By what callbacks scale the scheduler's rate.
    pub(crate) scale: f64,
}

impl LearningRates {
    /// The learner's next rate is asked of a copy.
    pub(crate) fn of<M: LearnerModel>(learner: &Learner<M>, last: f64, scale: f64) -> Self {
        let mut next = learner.clone();
        // A scheduler that cannot be scaled is an error at the next step.
        let _ = with_scale(scale, || next.lr_step());
        Self { last, next: next.lr_current().base(), scale }
    }
}
