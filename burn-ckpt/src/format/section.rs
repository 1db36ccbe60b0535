//! A section of a checkpoint: the tensors, scalars and strings of one part of the state (the model, the
//! optimizer, ..), under the names that the part itself gives them.
//!
//! Saving makes sections out of modules and burn's records; loading makes records out of sections again.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Bytes, Int, Tensor, kind::Basic};
use burn_pack::{Reader, Scalar, Writer};

use crate::error::{Error, Result};
use crate::format::deferred_tensor::deferred;
use crate::format::module_types::{ModuleTypes, Walk};

/// String of a module's section: JSON of its [`ModuleTypes`].
const MODULE_TYPES_KEY: &str = "module_types";
/// String of a module's section that is laid out in another way than burn's: a [`TensorLayout`]'s name.
const LAYOUT_KEY: &str = "layout";

/// How a module's tensors are named and laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TensorLayout {
    /// As burn has them.
    #[default]
    Burn,
    /// As PyTorch has them: the weights of linear layers are transposed, those of normalisations are called `weight`
    /// and `bias`, and no name has the variant of an enum. Loading converts them.
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

/// One part of a training state.
#[derive(Clone, Default)]
pub struct Section {
    /// The part's tensors, in the order in which they are stored.
    pub tensors: Vec<burn_pack::Tensor>,
    /// Its numbers and flags (an optimizer's time step, a scheduler's position).
    pub scalars: BTreeMap<String, Scalar>,
    /// Its strings.
    pub strings: BTreeMap<String, String>,
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

    /// The parameters and running statistics of a module, by their paths.
    ///
    /// Each tensor is read from its device only when it is written, one at a time. Running statistics are taken
    /// as they are visited, without pending updates: pass `module.valid()` for those of the moment.
    #[must_use]
    pub fn from_module<M: Module>(module: &M) -> Self {
        Self::collect(module, Collector::default())
    }

    /// The same, with every tensor asked for at once: on a device of another machine, an answer comes when what
    /// was asked for before has been done, so that one after the other they would take that time each. What comes before it is
    /// written waits in host memory.
    #[must_use]
    pub fn from_module_at_once<M: Module>(module: &M) -> Self {
        Self::collect(module, Collector { at_once: true, ..Collector::default() })
    }

    fn collect<M: Module>(module: &M, mut collector: Collector) -> Self {
        module.visit(&mut collector);
        let mut strings = BTreeMap::new();
        if let Ok(types) = collector.walk.into_types().to_json() {
            strings.insert(MODULE_TYPES_KEY.to_owned(), types);
        }
        Self { tensors: collector.tensors, scalars: BTreeMap::new(), strings }
    }

    /// Adds a tensor of a parameter's state. It is read from its device only when it is written.
    pub fn push<const D: usize, K: Basic>(&mut self, name: String, param_id: u64, tensor: Tensor<D, K>)
    where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(name, param_id, tensor, false));
    }

    /// The same, asked for at once, as [`from_module_at_once`](Self::from_module_at_once) does.
    pub fn push_at_once<const D: usize, K: Basic>(
        &mut self,
        name: String,
        param_id: u64,
        tensor: Tensor<D, K>,
    ) where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(name, param_id, tensor, true));
    }

    /// The types of the modules that have the tensors; empty where the section did not come from a module, or is older
    /// than this.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when what is noted of them cannot be understood.
    pub fn module_types(&self) -> Result<ModuleTypes> {
        let Some(text) = self.strings.get(MODULE_TYPES_KEY) else { return Ok(ModuleTypes::default()) };
        ModuleTypes::from_json(text)
            .map_err(|error| Error::Snapshot(format!("the types of the modules cannot be read: {error}")))
    }

    /// How the tensors are named and laid out.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] for a layout that this version does not know.
    pub fn layout(&self) -> Result<TensorLayout> {
        let known = [TensorLayout::Burn, TensorLayout::PyTorch];
        match self.strings.get(LAYOUT_KEY) {
            None => Ok(TensorLayout::Burn),
            Some(name) => known.into_iter().find(|layout| layout.name() == name).ok_or_else(|| {
                Error::Snapshot(format!("its tensors are laid out as {name:?}, which is unknown"))
            }),
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

    /// What a burnpack buffer holds, as burn's optimizer and scheduler records write it. Copies no tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when the buffer is no burnpack container.
    pub fn from_burnpack(bytes: Bytes) -> Result<Self> {
        let failed =
            |error: burn_pack::Error| Error::Snapshot(format!("a record is no burnpack data: {error}"));
        let reader = Reader::from_bytes(bytes).map_err(failed)?;
        let (scalars, strings) = (reader.scalars().clone(), reader.metadata().clone());
        Ok(Self { tensors: reader.into_tensors().map_err(failed)?, scalars, strings })
    }

    /// Names and shapes of the tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
    }
}

/// burnpack's own writer of these entries.
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

/// Visits a module and describes each parameter in the form that burn's own `ModuleRecord` stores, so that the
/// record loads what this wrote. Unlike the record it reads no tensor yet.
#[derive(Default)]
struct Collector {
    /// Whether tensors are asked for when they are visited.
    at_once: bool,
    walk: Walk,
    tensors: Vec<burn_pack::Tensor>,
}

impl Collector {
    fn add<const D: usize, K: Basic>(&mut self, id: u64, tensor: Tensor<D, K>)
    where
        Tensor<D, K>: Send + 'static,
    {
        self.tensors.push(deferred(self.walk.place(), id, tensor, self.at_once));
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
        self.walk.note_layout(param);
        self.add(param.id.val(), param.transform_for_save().val());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.id.val(), param.transform_for_save().val());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param.id.val(), param.transform_for_save().val());
    }
}
