//! How the tensors of a checkpoint are matched with a module's parameters: the options and their builder.

use burn::store::KeyRemapper;
use burn::tensor::DType;

use crate::format::section::Section;

/// How the tensors of a checkpoint are matched with a module's parameters.
///
/// | field | default | what it does |
/// |---|---|---|
/// | `allow_partial` | `false` | parameters that the checkpoint lacks keep their initial values |
/// | `allow_unused` | `false` | tensors that the module lacks are left out |
/// | `allow_mismatched` | `false` | parameters of another shape or kind keep their initial values |
/// | `remapper` | none | renames the checkpoint's tensors before they are matched |
/// | `float_dtype` | as stored | casts every tensor of floats |
/// | `part` | the model | loads the tensors of a program's own part, `user.<part>`, such as averaged weights |
/// | `verify` | `true` | compares each tensor that is read with its digest in the metadata |
///
/// ```
/// use burn::tensor::DType;
/// use burn_ckpt::LoadOptions;
///
/// let options = LoadOptions::new().with_allow_partial(true).with_float_dtype(DType::F32);
/// assert!(options.allow_partial && options.verify);
/// ```
///
/// [`Checkpoint::load_into_with`](crate::Checkpoint::load_into_with) has an example that loads a model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Whether parameters that the checkpoint lacks keep their initial values.
    pub allow_partial: bool,
    /// Whether tensors that the module lacks are left out.
    pub allow_unused: bool,
    /// Whether parameters that have another shape in the checkpoint, or another kind (float, int, bool), keep
    /// their initial values.
    pub allow_mismatched: bool,
    /// Renames the checkpoint's tensors, in the order of its patterns, before they are matched.
    pub remapper: KeyRemapper,
    /// The type that every tensor of floats is cast to. `None`: parameters get the stored type.
    pub float_dtype: Option<DType>,
    /// The part that is loaded: `ema` for the section `user.ema`. `None`: the model.
    pub part: Option<String>,
    /// Whether the hyperparameters and each tensor that is read are compared with the metadata file.
    pub verify: bool,
}

impl LoadOptions {
    /// The defaults of the table above.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether parameters that the checkpoint lacks keep their initial values.
    #[must_use]
    pub fn with_allow_partial(mut self, allow: bool) -> Self {
        self.allow_partial = allow;
        self
    }

    /// Sets whether tensors that the module lacks are left out.
    #[must_use]
    pub fn with_allow_unused(mut self, allow: bool) -> Self {
        self.allow_unused = allow;
        self
    }

    /// Sets whether parameters of another shape or kind keep their initial values.
    #[must_use]
    pub fn with_allow_mismatched(mut self, allow: bool) -> Self {
        self.allow_mismatched = allow;
        self
    }

    /// Sets how the checkpoint's tensors are renamed before they are matched.
    #[must_use]
    pub fn with_remapper(mut self, remapper: KeyRemapper) -> Self {
        self.remapper = remapper;
        self
    }

    /// Sets the type that every tensor of floats is cast to, or `None` for the stored type. Loading fails for
    /// a type that is not one of floats.
    #[must_use]
    pub fn with_float_dtype(mut self, dtype: impl Into<Option<DType>>) -> Self {
        self.float_dtype = dtype.into();
        self
    }

    /// Sets the part that is loaded, or `None` for the model.
    #[must_use]
    pub fn with_part<'a>(mut self, part: impl Into<Option<&'a str>>) -> Self {
        self.part = part.into().map(str::to_owned);
        self
    }

    /// The name of the section that is loaded.
    pub(crate) fn section(&self) -> String {
        let of_part = |part: &String| format!("{}{part}", Section::USER_PREFIX);
        self.part.as_ref().map_or_else(|| Section::MODEL.to_owned(), of_part)
    }

    /// Sets whether the hyperparameters and each tensor that is read are compared with the metadata file.
    #[must_use]
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            allow_partial: false,
            allow_unused: false,
            allow_mismatched: false,
            remapper: KeyRemapper::new(),
            float_dtype: None,
            part: None,
            verify: true,
        }
    }
}
