//! From burn's names and layouts to PyTorch's and back, by the types of the modules that have the tensors.
//!
//! burn-store's adapters know the differences: the weights of linear layers are transposed, those of batch, layer, group and
//! RMS normalisation are called `gamma` and `beta` in burn. Names in burn have the variants of enums.

use burn::store::{BurnToPyTorchAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};
use burn_ckpt::TensorLayout;
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::ModuleTypes;

/// A layout as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutName {
    /// Names and layouts as burn has them
    Burn,
    /// As PyTorch has them: linear weights transposed, normalisations with `weight` and `bias`, no variants of enums
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

/// A tensor of a burn module under PyTorch's name and in PyTorch's layout; converted when it is read.
pub fn tensor_as_pytorch(tensor: Tensor, types: &ModuleTypes) -> Tensor {
    let around = types.around(&tensor.name);
    let mut adapted = BurnToPyTorchAdapter.adapt(tensor, ModuleContext::new(&around));
    adapted.name = types.without_variants(&adapted.name);
    adapted
}

/// A tensor in PyTorch's layout as the parameter `name` of a burn module; converted when it is read.
pub fn tensor_as_burn(tensor: Tensor, name: &str, types: &ModuleTypes) -> Tensor {
    let around = types.around(name);
    let mut adapted = PyTorchToBurnAdapter.adapt(tensor, ModuleContext::new(&around));
    name.clone_into(&mut adapted.name);
    adapted
}
