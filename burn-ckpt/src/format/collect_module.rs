//! From a module to the tensors of a section, in the form that burn's own `ModuleRecord` stores.

use burn::module::{Module, ModuleVisitor, Param, Parameter};
use burn::tensor::{Bool, Int, Tensor, kind::Basic};

use crate::format::deferred_tensor::{ReadTiming, deferred};
use crate::format::module_types::{ModuleTypes, Walk};

/// The tensors of a module in the order in which it is visited, and the types of its modules.
pub(crate) fn collect<M: Module>(module: &M, reading: ReadTiming) -> (Vec<burn_pack::Tensor>, ModuleTypes) {
    let mut collector = Collector { reading, is_saved: true, walk: Walk::default(), tensors: Vec::new() };
    module.visit(&mut collector);
    (collector.tensors, collector.walk.into_types())
}

/// The tensors of a module with their names, types and lengths, for a question about these alone. A
/// parameter's own mapping for saving is not applied: it can take long, and keeps the length but for rare
/// cases.
#[must_use]
pub fn outlines<M: Module>(module: &M) -> Vec<burn_pack::Tensor> {
    let mut collector =
        Collector { reading: ReadTiming::Later, is_saved: false, walk: Walk::default(), tensors: Vec::new() };
    module.visit(&mut collector);
    collector.tensors
}

/// Describes each parameter as burn's `ModuleRecord` stores it, so that the record loads what is written.
/// Unlike the record, it does not read the tensors.
struct Collector {
    reading: ReadTiming,
    /// Whether the parameters' mappings for saving are applied.
    is_saved: bool,
    walk: Walk,
    tensors: Vec<burn_pack::Tensor>,
}

impl Collector {
    fn add<const D: usize, K: Basic>(&mut self, id: u64, tensor: Tensor<D, K>)
    where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(self.walk.place(), id, tensor, self.reading));
    }
}

impl Collector {
    fn value<T: Parameter>(&self, param: &Param<T>) -> T {
        if self.is_saved { param.transform_for_save().val() } else { param.val() }
    }
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.is_saved {
            self.walk.note_layout(param);
        }
        self.add(param.id.val(), self.value(param));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.id.val(), self.value(param));
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param.id.val(), self.value(param));
    }
}
