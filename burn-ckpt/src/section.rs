//! A section of a checkpoint: the tensors, scalars and strings of one part of the state (the model, the
//! optimizer, ..), under the names that the part itself gives them.
//!
//! Saving makes sections out of modules and burn's records; loading makes records out of sections again.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Bytes, DType, Int, Tensor, kind::Basic};
use burn_pack::{Reader, Scalar, Writer};

use crate::error::{Error, Result};

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
    /// The parameters and running statistics of a module, by their paths.
    ///
    /// Each tensor is read from its device only when it is written, one at a time. Running statistics are taken
    /// as they are visited, without pending updates: pass `module.valid()` for those of the moment.
    #[must_use]
    pub fn from_module<M: Module>(module: &M) -> Self {
        let mut collector = Collector::default();
        module.visit(&mut collector);
        Self { tensors: collector.tensors, ..Self::default() }
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

    /// The section as a burnpack buffer, from which burn's records are made.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when a tensor cannot be read.
    pub fn into_burnpack(self) -> Result<Bytes> {
        let mut writer = Writer::new(self.tensors);
        for (name, value) in self.scalars {
            writer = writer.with_scalar(&name, value);
        }
        for (name, value) in &self.strings {
            writer = writer.with_metadata(name, value);
        }
        writer.into_bytes().map_err(|error| Error::Snapshot(error.to_string()))
    }

    /// Names and shapes of the tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
    }
}

/// Visits a module and describes each parameter in the form that burn's own `ModuleRecord` stores, so that the
/// record loads what this wrote. Unlike the record it reads no tensor yet.
#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Vec<burn_pack::Tensor>,
}

impl Collector {
    fn add<const D: usize, K: Basic>(&mut self, id: u64, tensor: Tensor<D, K>)
    where
        Tensor<D, K>: Clone + Send + Sync + 'static,
    {
        let name = self.path.join(".");
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        if matches!(dtype, DType::QFloat(_)) {
            // The length of packed values does not follow from shape and type: they have to be read now.
            let (bytes, shape, dtype) = tensor.into_data().into_parts();
            self.tensors.push(burn_pack::Tensor::new(name, dtype, shape, Some(id), bytes));
            return;
        }
        let byte_len = shape.num_elements() * dtype.size();
        let read = move || match tensor.clone().try_into_data() {
            Ok(data) => Ok(data.into_parts().0),
            Err(error) => Err(burn_pack::Error::IoError(format!("cannot be read from its device: {error}"))),
        };
        self.tensors.push(burn_pack::Tensor::deferred(name, dtype, shape, Some(id), byte_len, read));
    }
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(param.id.val(), param.transform_for_save().val());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.id.val(), param.transform_for_save().val());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param.id.val(), param.transform_for_save().val());
    }
}
