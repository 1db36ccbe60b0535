//! A section of a checkpoint: the tensors, scalars and strings of one part of the state (the model, the
//! optimizer, ..), under the names that the part itself gives them.
//!
//! Saving converts modules and burn's records to sections. Loading converts sections to records.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Bytes, Tensor, kind::Basic};
use burn_pack::{Reader, Scalar, Writer};

use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::collect_module::collect;
use crate::format::container::read_errors::ReadErrors;
use crate::format::deferred_tensor::{ReadTiming, deferred};
use crate::format::module_types::ModuleTypes;
use crate::text::printable::shown;

/// String of a module's section: JSON of its [`ModuleTypes`].
const MODULE_TYPES_KEY: &str = "module_types";
/// String of a section whose tensors are not in burn's layout: a [`TensorLayout`]'s name.
const LAYOUT_KEY: &str = "layout";

/// How a module's tensors are named and laid out.
///
/// ```
/// use burn_ckpt::{Section, TensorLayout};
///
/// let section = Section::new().with_layout(TensorLayout::PyTorch);
/// assert_eq!(section.layout()?, TensorLayout::PyTorch);
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorLayout {
    /// burn's names and layout.
    #[default]
    Burn,
    /// PyTorch's names and layout: weights of linear layers are transposed, the parameters of normalisations
    /// are called `weight` and `bias`, and names do not contain the variants of enums. Loading converts them.
    PyTorch,
}

impl TensorLayout {
    /// The name in a file: `burn` or `pytorch`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Burn => "burn",
            Self::PyTorch => "pytorch",
        }
    }
}

/// One part of a training state: tensors, scalars and strings.
///
/// [`Section::from_module`] makes the section of a model. A part of a program's own is made with
/// [`Section::new`]:
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_ckpt::Section;
///
/// let mut ema = Section::new();
/// ema.push("fc.weight".to_owned(), 0, Tensor::<2>::zeros([4, 2], &Device::default()));
/// ema.scalars.insert("decay".to_owned(), 0.999.into());
/// assert_eq!(ema.shapes().collect::<Vec<_>>(), [("fc.weight", [4, 2].as_slice())]);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Section {
    /// The part's tensors, in the order in which they are stored.
    pub tensors: Vec<burn_pack::Tensor>,
    /// The part's numbers and flags (an optimizer's time step, a scheduler's position).
    pub scalars: BTreeMap<String, Scalar>,
    /// The part's strings.
    pub strings: BTreeMap<String, String>,
    /// The errors of reading the tensors, of a section of a file.
    pub(crate) read_errors: ReadErrors,
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section")
            .field("tensors", &self.tensors.iter().map(|tensor| &tensor.name).collect::<Vec<_>>())
            .field("scalars", &self.scalars)
            .field("strings", &self.strings)
            .finish()
    }
}

impl Section {
    /// Name of the section of the model's parameters and running statistics.
    pub const MODEL: &str = "model";
    /// Name of the section of the optimizer's state.
    pub const OPTIMIZER: &str = "optimizer";
    /// Name of the section of the learning-rate scheduler's state.
    pub const SCHEDULER: &str = "scheduler";
    /// Name of the section of the values that a run has logged.
    pub const HISTORY: &str = "history";
    /// First part of the names of a program's own sections: `user.<part>`.
    pub const USER_PREFIX: &str = "user.";

    /// A section without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The parameters and running statistics of a module, by their paths.
    ///
    /// Each tensor is read from its device only when it is written, one at a time. Running statistics are
    /// taken without pending updates: pass `module.valid()` to include those.
    #[must_use]
    pub fn from_module<M: Module>(module: &M) -> Self {
        Self::collected(module, ReadTiming::Later)
    }

    /// The same, but reading every tensor from its device starts now. This is faster on a device of another
    /// machine, which answers a read after the work queued before it: the tensors wait for that work together
    /// instead of one after the other. Those that arrive before they are written stay in host memory.
    #[must_use]
    pub fn from_module_at_once<M: Module>(module: &M) -> Self {
        Self::collected(module, ReadTiming::Now)
    }

    fn collected<M: Module>(module: &M, reading: ReadTiming) -> Self {
        let (tensors, types) = collect(module, reading);
        let mut strings = BTreeMap::new();
        if let Ok(types) = types.to_json() {
            strings.insert(MODULE_TYPES_KEY.to_owned(), types);
        }
        Self { tensors, strings, ..Self::default() }
    }

    /// Sets the tensors, in the order in which they are to be stored.
    #[must_use]
    pub fn with_tensors(mut self, tensors: Vec<burn_pack::Tensor>) -> Self {
        self.tensors = tensors;
        self
    }

    /// Sets the numbers and flags.
    #[must_use]
    pub fn with_scalars(mut self, scalars: BTreeMap<String, Scalar>) -> Self {
        self.scalars = scalars;
        self
    }

    /// Sets the strings.
    #[must_use]
    pub fn with_strings(mut self, strings: BTreeMap<String, String>) -> Self {
        self.strings = strings;
        self
    }

    /// Sets where reading the tensors leaves its errors.
    pub(crate) fn with_read_errors(mut self, read_errors: ReadErrors) -> Self {
        self.read_errors = read_errors;
        self
    }

    /// Adds a tensor of a parameter's state. It is read from its device only when it is written.
    pub fn push<const D: usize, K: Basic>(&mut self, name: String, param_id: u64, tensor: Tensor<D, K>)
    where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(name, param_id, tensor, ReadTiming::Later));
    }

    /// The same, but reading the tensor starts now, as in [`from_module_at_once`](Self::from_module_at_once).
    pub fn push_at_once<const D: usize, K: Basic>(
        &mut self,
        name: String,
        param_id: u64,
        tensor: Tensor<D, K>,
    ) where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(name, param_id, tensor, ReadTiming::Now));
    }

    /// The types of the modules that own the tensors. Empty for a section that was not made from a module, or
    /// by a version that did not store them.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when the stored types are not valid JSON.
    #[doc(hidden)]
    pub fn module_types(&self) -> Result<ModuleTypes> {
        let Some(text) = self.strings.get(MODULE_TYPES_KEY) else { return Ok(ModuleTypes::default()) };
        ModuleTypes::from_json(text).map_err(|error| Error::Section {
            reason: "the types of its modules are not valid JSON".to_owned(),
            source: Some(Box::new(error)),
        })
    }

    /// How the tensors are named and laid out.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] for a layout that this version does not know.
    pub fn layout(&self) -> Result<TensorLayout> {
        let known = [TensorLayout::Burn, TensorLayout::PyTorch];
        match self.strings.get(LAYOUT_KEY) {
            None => Ok(TensorLayout::Burn),
            Some(name) => {
                known.into_iter().find(|layout| layout.name() == name).ok_or_else(|| Error::Section {
                    reason: format!("its tensor layout {:?} is unknown", shown(name)),
                    source: None,
                })
            }
        }
    }

    /// States how the tensors are named and laid out. Changes no tensor.
    #[must_use]
    pub fn with_layout(mut self, layout: TensorLayout) -> Self {
        match layout {
            TensorLayout::Burn => self.strings.remove(LAYOUT_KEY),
            other => self.strings.insert(LAYOUT_KEY.to_owned(), other.name().to_owned()),
        };
        self
    }

    /// The entries of a burnpack buffer, as burn's optimizer and scheduler records write it. Copies no
    /// tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when the buffer is not a burnpack container.
    pub fn from_burnpack(bytes: Bytes) -> Result<Self> {
        let failed = |error| Error::snapshot("a record is not burnpack data", PackError::boxed(error));
        let reader = Reader::from_bytes(bytes).map_err(failed)?;
        let (scalars, strings) = (reader.scalars().clone(), reader.metadata().clone());
        Ok(Self::new()
            .with_tensors(reader.into_tensors().map_err(failed)?)
            .with_scalars(scalars)
            .with_strings(strings))
    }

    /// Names and shapes of the tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
    }
}

/// burn-pack's writer for these entries.
pub(crate) fn burnpack_writer(
    tensors: Vec<burn_pack::Tensor>,
    scalars: &BTreeMap<String, Scalar>,
    strings: &BTreeMap<String, String>,
) -> Writer {
    let mut writer = Writer::new(tensors);
    for (name, value) in scalars {
        writer = writer.with_scalar(name, *value);
    }
    for (name, value) in strings {
        writer = writer.with_metadata(name, value);
    }
    writer
}
