//! What a module's forward pass changes: running statistics.
//!
//! Parameters change in an optimizer's update alone, running statistics with every batch. A state that is saved between
//! two updates (a step failed, or gradients are being accumulated) is that of the last update, so the running
//! statistics of that time are kept.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The tensors of a module that no optimizer changes, as they were at some time. They share the module's memory.
#[derive(Default)]
pub(crate) struct Buffers(HashMap<ParamId, Box<dyn Any + Send>>);

impl Buffers {
    /// Those of a module in training, whose pending updates have been settled.
    pub(crate) fn of<M: Module>(model: &M) -> Self {
        let mut buffers = Self::default();
        model.visit(&mut buffers);
        buffers
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into a copy of the module that has cells of its own, as `valid()` makes it.
    pub(crate) fn put_into<M: Module>(&self, model: M) -> M {
        model.map(&mut Restore(self))
    }
}

impl ModuleVisitor for Buffers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            self.0.insert(param.id, Box::new(tensor.without_autodiff()));
        }
    }
}

struct Restore<'a>(&'a Buffers);

impl ModuleMapper for Restore<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let kept = self.0.0.get(&id).and_then(|kept| kept.downcast_ref::<Tensor<D>>());
        Param::from_mapped_value(id, kept.cloned().unwrap_or(tensor), mapper)
    }
}
