//! The running statistics of a model at its last optimizer step.
//!
//! Parameters change in an optimizer step only. Running statistics (batch normalisation's mean and variance)
//! change with every batch. A state that is saved between two optimizer steps (a batch failed, or gradients
//! are being accumulated) is that of the last step, so its running statistics are kept.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The tensors of a module that no optimizer changes, at some step. They share the module's memory.
#[derive(Default)]
pub(crate) struct RunningStatistics(HashMap<ParamId, Box<dyn Any + Send>>);

impl RunningStatistics {
    /// The statistics of a module in training, whose pending updates have been applied.
    pub(crate) fn of<M: Module>(model: &M) -> Self {
        let mut statistics = Self::default();
        model.visit(&mut statistics);
        statistics
    }

    /// Whether the model has no running statistics.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the statistics into a copy of the module. The copy must have cells of its own, as `valid()` makes
    /// them.
    pub(crate) fn put_into<M: Module>(&self, model: M) -> M {
        model.map(&mut RestoreStatistics(self))
    }
}

impl ModuleVisitor for RunningStatistics {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            self.0.insert(param.id, Box::new(tensor.without_autodiff()));
        }
    }
}

struct RestoreStatistics<'a>(&'a RunningStatistics);

impl ModuleMapper for RestoreStatistics<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let kept = self.0.0.get(&id).and_then(|kept| kept.downcast_ref::<Tensor<D>>());
        Param::from_mapped_value(id, kept.cloned().unwrap_or(tensor), mapper)
    }
}
