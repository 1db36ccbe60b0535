//! How the tensors of a checkpoint are matched with a module's parameters.

use burn::store::KeyRemapper;
use burn::tensor::DType;

/// How the tensors of a checkpoint are matched with a module's parameters.
///
/// | field | default | what it does |
/// |---|---|---|
/// | `allow_partial` | `false` | parameters that the checkpoint lacks keep their initial values |
/// | `allow_unused` | `false` | tensors that the module lacks are left out |
/// | `allow_mismatched` | `false` | parameters of another shape or kind keep their initial values |
/// | `remapper` | none | renames the checkpoint's tensors before they are matched |
/// | `float_dtype` | as stored | casts every tensor of floats |
/// | `verify` | `true` | compares each tensor that is read with its digest in the metadata |
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Whether parameters that the checkpoint lacks keep their initial values.
    pub allow_partial: bool,
    /// Whether tensors that the module lacks are left out.
    pub allow_unused: bool,
    /// Whether parameters that have another shape in the checkpoint, or another kind (float, int, bool), keep their
    /// initial values.
    pub allow_mismatched: bool,
    /// Renames the checkpoint's tensors, in the order of its patterns, before they are matched.
    pub remapper: KeyRemapper,
    /// The type that every tensor of floats is cast to; without one a parameter gets the type that is stored.
    pub float_dtype: Option<DType>,
    /// Whether the hyperparameters and each tensor that is read are compared with the metadata file.
    pub verify: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            allow_partial: false,
            allow_unused: false,
            allow_mismatched: false,
            remapper: KeyRemapper::new(),
            float_dtype: None,
            verify: true,
        }
    }
}
