//! The learning rates at a position of a run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Param;
use burn::tensor::Tensor;
use burn::train::{Learner, LearnerModel};

use super::float_parameters::{FloatVisitor, visit_floats};
use crate::lr_scheduler::with_scale;

/// A scale to try.
const TRIED: f64 = 0.5;

/// The learning rates of the parameters that are in no group of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LearningRates {
    /// Of the last optimizer step.
    pub(crate) last: f64,
    /// Of the next one. `None` if the scheduler has none: a table that ends with the run, say.
    pub(crate) next: Option<f64>,
    /// By what callbacks scale the scheduler's rate.
    pub(crate) scale: f64,
}

impl LearningRates {
    /// The learner's next rate is asked of a copy.
    pub(crate) fn of<M: LearnerModel>(learner: &Learner<M>, last: f64, scale: f64) -> Self {
        Self { last, next: next(learner, scale).map(|rate| rate.base()), scale }
    }
}

/// What to do where [`takes_scale`] is false.
pub(crate) const HOW_TO_SCALE: &str = "the learning rate cannot be scaled: give burn_trainer::lr_scheduler::scaled(..) of the rate, \
                                       or of the scheduler of each group, to Learner::new";

/// Whether a scale of the learning rate reaches a scheduler.
pub(crate) fn takes_scale<M: LearnerModel>(learner: &Learner<M>) -> bool {
    let mut copy = learner.clone();
    let stepped = catch_unwind(AssertUnwindSafe(|| with_scale(TRIED, || copy.lr_step())));
    // A scheduler that panics at the next step does so there too.
    stepped.unwrap_or(true)
}

/// Whether two rates differ by no more than the cosine of two systems does.
pub(crate) fn is_same_rate(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

/// Whether the rate of every parameter can be scaled.
pub(crate) fn can_be_scaled<M: LearnerModel>(learner: &Learner<M>) -> bool {
    let (Some(whole), Some(scaled)) = (next(learner, 1.0), next(learner, TRIED)) else { return false };
    let mut compared = Compared { whole, scaled, are_scaled: true };
    visit_floats(&learner.model(), &mut compared);
    compared.are_scaled
}

fn next<M: LearnerModel>(learner: &Learner<M>, scale: f64) -> Option<ModuleLearningRate> {
    let mut copy = learner.clone();
    let stepped = catch_unwind(AssertUnwindSafe(|| {
        with_scale(scale, || copy.lr_step());
        copy.lr_current()
    }));
    stepped.ok()
}

/// Compares the rate of each parameter with and without the scale.
struct Compared {
    whole: ModuleLearningRate,
    scaled: ModuleLearningRate,
    are_scaled: bool,
}

impl FloatVisitor for Compared {
    fn visit<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>) {
        let rate = |rates: &ModuleLearningRate| rates.lr_from_param(param.id, Some(path));
        self.are_scaled &= rate(&self.scaled) == rate(&self.whole) * TRIED;
    }
}
