//! Converting tensors between burn's and PyTorch's names and layouts, by the types of the modules that own
//! them.
//!
//! burn-store's adapters know the differences: weights of linear layers are transposed, and the parameters of
//! batch, layer, group and RMS normalisation are called `gamma` and `beta` in burn. Names in burn contain the
//! variants of enums.

use std::collections::{BTreeMap, BTreeSet};

use burn::store::{BurnToPyTorchAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};
use burn_ckpt::TensorLayout;
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::ModuleTypes;

/// A layout's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutName {
    /// burn's names and layout
    Burn,
    /// PyTorch's: linear weights transposed, normalisations with `weight` and `bias`, no variants of enums in
    /// names
    Pytorch,
}

impl From<LayoutName> for TensorLayout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Burn => Self::Burn,
            LayoutName::Pytorch => Self::PyTorch,
        }
    }
}

/// burn's modules of which PyTorch's have other tensors: other names, or several of burn's in one.
const OTHER_IN_PYTORCH: [&str; 13] = [
    "BiGru",
    "BiLstm",
    "BiRnn",
    "Gru",
    "InstanceNorm",
    "Lstm",
    "MultiHeadAttention",
    "PRelu",
    "Rnn",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
];

/// The modules of these tensors of which PyTorch's have other ones: each type with the path of the first, and
/// how many more there are.
pub fn other_in_pytorch(tensors: &[Tensor], types: &ModuleTypes) -> Vec<String> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for tensor in tensors {
        if let Some((path, module)) = types.outermost(&tensor.name, &OTHER_IN_PYTORCH) {
            found.entry(module).or_default().insert(path);
        }
    }
    let shown = |(module, paths): (&str, BTreeSet<&str>)| {
        let first = paths.first().copied().filter(|path| !path.is_empty()).unwrap_or("the model itself");
        match paths.len() - 1 {
            0 => format!("{module} ({first})"),
            more => format!("{module} ({first} and {more} more)"),
        }
    };
    found.into_iter().map(shown).collect()
}

/// Converts a burn module's tensor to PyTorch's name and layout. The values are converted when they are read.
pub fn tensor_as_pytorch(tensor: Tensor, types: &ModuleTypes) -> Tensor {
    let around = types.around(&tensor.name);
    let mut adapted = BurnToPyTorchAdapter.adapt(tensor, ModuleContext::new(&around));
    adapted.name = types.without_variants(&adapted.name);
    adapted
}

/// Converts a tensor in PyTorch's layout to the parameter `name` of a burn module. The values are converted
/// when they are read.
pub fn tensor_as_burn(tensor: Tensor, name: &str, types: &ModuleTypes) -> Tensor {
    let around = types.around(name);
    let mut adapted = PyTorchToBurnAdapter.adapt(tensor, ModuleContext::new(&around));
    name.clone_into(&mut adapted.name);
    adapted
}
