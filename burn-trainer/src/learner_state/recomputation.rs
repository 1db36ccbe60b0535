//! Whether a model's backward pass computes activations again: gradient checkpointing.
//!
//! In burn that is a property of each tensor, which has it from the device it was made on. burn refuses an
//! operation on tensors of both kinds, and moves a model without changing its kind. So the model says which
//! kind it is, and the batches follow it.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, GradientCheckpointingStrategy, Tensor};

use crate::error::{Error, Result};

/// The setting.
const SETTING: &str = "gradient_checkpointing";

/// A device that computes gradients, for tensors of the kind that the setting asks for.
pub(crate) fn training_device(device: Device, recomputes: bool) -> Device {
    let device = device.autodiff();
    if recomputes { device.gradient_checkpointing() } else { device }
}

/// Whether the model computes activations again.
///
/// # Errors
///
/// [`Error::Config`] when the setting asks for it, and the model was made on a device without it.
pub(crate) fn recomputes<M: Module>(model: &M, is_wanted: bool) -> Result<bool> {
    match strategy(model) {
        Some(GradientCheckpointingStrategy::Balanced) => Ok(true),
        Some(GradientCheckpointingStrategy::Disabled) if is_wanted => Err(Error::config(
            SETTING,
            "the model was made on a device without it: make it on the one that Trainer::device returns, or on \
             device.autodiff().gradient_checkpointing()",
        )),
        Some(GradientCheckpointingStrategy::Disabled) => Ok(false),
        None => Ok(is_wanted),
    }
}

/// The model with parameters that have activations computed again.
pub(crate) fn recomputing<M: Module>(model: M) -> M {
    model.map(&mut Recomputing)
}

/// That of the first parameter that has one. Parameters that are not initialized stay so.
fn strategy<M: Module>(model: &M) -> Option<GradientCheckpointingStrategy> {
    let mut found = FirstStrategy(None);
    model.visit(&mut found);
    found.0
}

struct FirstStrategy(Option<GradientCheckpointingStrategy>);

impl ModuleVisitor for FirstStrategy {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 = self.0.or_else(|| param.lazy_device().gradient_checkpointing_strategy());
    }
}

struct Recomputing;

impl ModuleMapper for Recomputing {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match tensor.is_autodiff() {
            true => tensor.with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced),
            false => tensor,
        })
    }
}
