//! Which modules a model's tensors belong to. A section stores this beside the tensors.
//!
//! A tensor's name does not tell its layout: `hidden.weight` of a linear layer is transposed in PyTorch, that
//! of an embedding is not. The types are burn's names for modules (`Struct:Linear`, `Vec`,
//! `Enum:Activation`), in the form that burn-store's adapters take.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::Tensor;

use crate::format::container::bounded_json::{JsonError, parse};
use crate::format::container::limits::MAX_MODULES;

/// burn's name for a linear layer.
const LINEAR: &str = "Struct:Linear";
/// Our name for a linear layer with a transposed weight. burn-store's adapters do not know it, so they do not
/// transpose it.
const LINEAR_COL: &str = "Struct:Linear(Col)";

/// The type of every module around a tensor, by the module's path. The model itself is at the empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleTypes(BTreeMap<String, String>);

impl ModuleTypes {
    pub(crate) fn from_json(text: &str) -> Result<Self, JsonError> {
        parse(text.as_bytes(), MAX_MODULES).map(Self)
    }

    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0)
    }

    /// Whether no module's type is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The types of the modules around a tensor, from the model to the module that owns the tensor.
    #[must_use]
    pub fn around(&self, tensor: &str) -> Vec<String> {
        self.above(tensor).filter_map(|path| self.0.get(path)).cloned().collect()
    }

    /// The type of the module that owns a tensor, without burn's prefix: `Linear`.
    #[must_use]
    pub fn of(&self, tensor: &str) -> Option<&str> {
        let path = self.above(tensor).last()?;
        let module = self.0.get(path)?;
        Some(module.split_once(':').map_or(module.as_str(), |(_, name)| name))
    }

    /// The outermost module around a tensor that has one of these types, without burn's prefix: its path and
    /// its type.
    #[must_use]
    pub fn outermost<'a>(&'a self, tensor: &'a str, types: &[&str]) -> Option<(&'a str, &'a str)> {
        let typed = self.above(tensor).filter_map(|path| Some((path, self.0.get(path)?)));
        let mut structs = typed.filter_map(|(path, module)| Some((path, module.strip_prefix("Struct:")?)));
        structs.find(|(_, module)| types.contains(module))
    }

    /// A tensor's name without the variants of enums, which burn's names have and PyTorch's lack.
    #[must_use]
    pub fn without_variants(&self, tensor: &str) -> String {
        let kept: Vec<&str> = self
            .above(tensor)
            .zip(tensor.split('.'))
            .filter(|(path, _)| !self.0.get(*path).is_some_and(|module| module.starts_with("Enum:")))
            .map(|(_, part)| part)
            .collect();
        kept.join(".")
    }

    /// The paths of the modules around a tensor: for `a.b.weight` the empty one, `a`, and `a.b`.
    fn above<'a>(&self, tensor: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::once("").chain(tensor.match_indices('.').map(|(end, _)| &tensor[..end]))
    }
}

/// The position of a visitor in a module, and the types of the modules that it has visited.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    path: Vec<String>,
    types: ModuleTypes,
}

impl Walk {
    /// From a module of type `container` to its field `name`.
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.types.0.entry(self.place()).or_insert_with(|| container.to_owned());
        self.path.push(name.to_owned());
    }

    /// Back to the module.
    pub(crate) fn exit(&mut self) {
        self.path.pop();
    }

    /// The name of the field.
    pub(crate) fn place(&self) -> String {
        self.path.join(".")
    }

    /// Records a linear layer whose weight is stored transposed (burn's `LinearLayout::Col`): in a file it is
    /// `[outputs, inputs]`, as in PyTorch, and must not be transposed again. The shape of a square weight
    /// does not tell the layout, so the parameter's load mapping is applied to a small tensor that is not
    /// square.
    pub(crate) fn note_layout<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some((_, module)) = self.path.split_last() else { return };
        let module = self.types.0.get_mut(&module.join("."));
        let Some(module) = module.filter(|module| *module == LINEAR && D == 2) else { return };
        let mut shape = [1; D];
        shape[D - 1] = 2;
        let probe = Tensor::<D>::zeros(shape, &param.lazy_device());
        let loaded = param.clone().transform_for_load(probe, param.id).val();
        if loaded.dims() != shape {
            LINEAR_COL.clone_into(module);
        }
    }

    /// The types of all modules that the visitor has visited.
    pub(crate) fn into_types(self) -> ModuleTypes {
        self.types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> ModuleTypes {
        let text = r#"{"":"Struct:Net","act":"Enum:Activation","act.Swish":"Struct:Swish","layers":"Vec",
                       "layers.0":"Struct:Linear"}"#;
        ModuleTypes::from_json(text).unwrap()
    }

    #[test]
    fn the_modules_around_a_tensor_are_found_by_its_name() {
        assert_eq!(types().around("layers.0.weight"), ["Struct:Net", "Vec", "Struct:Linear"]);
        assert_eq!(types().of("layers.0.weight"), Some("Linear"));
        assert_eq!(types().of("scale"), Some("Net"));
        assert_eq!(types().of("unknown.weight"), None);
    }

    #[test]
    fn the_outermost_module_of_some_types_is_found() {
        let types = types();
        let found = |wanted: &[&str]| types.outermost("layers.0.weight", wanted);
        assert_eq!(found(&["Linear", "Swish"]), Some(("layers.0", "Linear")));
        assert_eq!(found(&["Linear", "Net"]), Some(("", "Net")));
        assert_eq!(found(&["Swish"]), None);
    }

    #[test]
    fn variants_of_enums_are_left_out_of_pytorchs_names() {
        assert_eq!(types().without_variants("act.Swish.beta"), "act.beta");
        assert_eq!(types().without_variants("layers.0.weight"), "layers.0.weight");
    }
}
