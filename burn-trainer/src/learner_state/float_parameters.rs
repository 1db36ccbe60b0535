//! Visits the parameters that an optimizer can train, with their paths in the model.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// What is done at each of them.
pub(crate) trait FloatVisitor {
    /// A parameter with this path (`encoder.linear.weight`).
    fn visit<const D: usize>(&mut self, path: &str, param: &Param<Tensor<D>>);
}

/// Visits the parameters of floats in the order of the module.
pub(crate) fn visit_floats<M: Module>(module: &M, visitor: &mut impl FloatVisitor) {
    module.visit(&mut WithPath { visitor, path: Vec::new() });
}

/// The fields that lead to where the visitor is.
struct WithPath<'a, V> {
    visitor: &'a mut V,
    path: Vec<String>,
}

impl<V: FloatVisitor> ModuleVisitor for WithPath<'_, V> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visitor.visit(&self.path.join("."), param);
    }
}
