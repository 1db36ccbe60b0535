//! Converting tensors between burn's and PyTorch's names and layouts, by the types of the modules that own
//! them.
//!
//! burn-store's adapters know the differences: weights of linear layers are transposed, and the parameters of
//! batch, layer, group and RMS normalisation are called `gamma` and `beta` in burn. Names in burn contain the
//! variants of enums.

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
