//! Loading a model until every value of it was read: our checkpoints, burn's, and safetensors' Rust crate
//! with the same bytes, in turns in one process. All files are in the page cache.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_ckpt::plumbing::blake3_hex;
use burn_ckpt::{CheckpointLoader, FromCheckpoint};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

use crate::checkpoint::measurement::{Measurement, seconds};
use crate::checkpoint::task::Task;
use crate::program::Result;

use super::training_model::{Clocked, Layers, LayersHparams, parameters, touch};
use super::{burn_loop, trainer};

/// The model, its digests compared.
pub const VERIFIED: &str = "model, verified";
/// The model, nothing compared.
pub const UNVERIFIED: &str = "model";
/// The hyperparameters alone.
pub const HPARAMS: &str = "hparams";
/// safetensors' Rust crate, with BLAKE3 of each tensor.
pub const SAFETENSORS_VERIFIED: &str = "safetensors (Rust): mmap, verified with BLAKE3";
/// safetensors' Rust crate, nothing compared.
pub const SAFETENSORS: &str = "safetensors (Rust): mmap";

type Model = Clocked<Layers>;

/// Our checkpoint and the same model in a file of safetensors.
///
/// # Errors
///
/// When one of them cannot be read.
pub fn trainers_checkpoint(task: &Task) -> Result<Measurement> {
    let device = Device::flex();
    let checkpoint = trainer::newest(&task.dir);
    let model = Model::from_checkpoint(&checkpoint, &device)?;
    let file = task.dir.join("model.safetensors");
    let digests = write_safetensors(&model, &file)?;
    let expected = sum(model);
    let mut measured = Measurement::default();
    let mut note = |name: &str, (seconds, sum): (f64, Result<u64>)| -> Result<()> {
        if sum? != expected {
            return Err(format!("{name}: other values than those that were saved").into());
        }
        measured.times.entry(name.to_owned()).or_default().push(seconds);
        Ok(())
    };
    for _ in 0..task.repetitions() {
        note(VERIFIED, seconds(|| Ok(sum(Model::from_checkpoint(&checkpoint, &device)?))))?;
        note(SAFETENSORS_VERIFIED, seconds(|| read_safetensors(&file, &device, Some(&digests))))?;
        let unverified = || {
            let loaded = CheckpointLoader::<Model>::new(&checkpoint).verify(false).load(&device)?;
            Ok(sum(loaded.model))
        };
        note(UNVERIFIED, seconds(unverified))?;
        note(SAFETENSORS, seconds(|| read_safetensors(&file, &device, None)))?;
        let hparams = || {
            let hparams = Model::hparams_from_checkpoint(&checkpoint)?;
            let same = hparams.layers == task.case.layers && hparams.width == task.case.width;
            Ok(if same { expected } else { !expected })
        };
        note(HPARAMS, seconds(hparams))?;
    }
    Ok(measured)
}

/// burn's file of the model.
///
/// # Errors
///
/// When it cannot be read.
pub fn burns_checkpoint(task: &Task) -> Result<Measurement> {
    let device = Device::flex();
    let mut measured = Measurement::default();
    for _ in 0..task.repetitions() {
        let load = || -> Result<u64> {
            let (model, _) = Model::new(Layers::new(&LayersHparams::of(&task.case), &device));
            Ok(sum(model.load_record(burn_loop::newest_model(&task.dir)?)))
        };
        let (seconds, sum) = seconds(load);
        std::hint::black_box(sum?);
        measured.times.entry(UNVERIFIED.to_owned()).or_default().push(seconds);
    }
    Ok(measured)
}

/// Reads every value of a model. The model has no other owner, so that no tensor is copied.
fn sum(model: Model) -> u64 {
    let mut sum = Sum(0);
    drop(model.map(&mut sum));
    sum.0
}

struct Sum(u64);

impl ModuleMapper for Sum {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        self.0 = self.0.wrapping_add(touch(tensor.into_data()));
        Param::from_mapped_value(id, Tensor::zeros([1; D], &device), mapper)
    }
}

/// Writes the model, and returns the digest of each tensor.
fn write_safetensors(model: &Model, path: &Path) -> Result<HashMap<String, String>> {
    let named: Vec<(String, TensorData)> =
        (0..).map(|number| format!("weights.{number}")).zip(parameters(model)).collect();
    let mut views = Vec::new();
    for (name, data) in &named {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes())?;
        views.push((name.as_str(), view));
    }
    serialize_to_file(views, None, path)?;
    Ok(named.iter().map(|(name, data)| (name.clone(), blake3_hex(data.as_bytes()))).collect())
}

/// Reads every tensor, compares it where there are digests, and reads every value.
fn read_safetensors(path: &Path, device: &Device, digests: Option<&HashMap<String, String>>) -> Result<u64> {
    let map = map(&File::open(path)?)?;
    let file = SafeTensors::deserialize(&map)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        if digests.is_some_and(|digests| digests.get(name) != Some(&blake3_hex(view.data()))) {
            return Err(format!("{name} has another digest").into());
        }
        // One copy, and none for the alignment of a tensor's memory, which a vector of bytes does not have.
        let values =
            view.data().chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap_or_default()));
        let data = TensorData::new(values.collect::<Vec<f32>>(), view.shape().to_vec());
        tensors.push(Tensor::<2>::from_data(data, device));
    }
    Ok(tensors.into_iter().map(|tensor| touch(tensor.into_data())).fold(0, u64::wrapping_add))
}

/// As safetensors' own documentation does it.
#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the file is in a directory of this process alone, and no other process writes to it.
    unsafe { memmap2::Mmap::map(file) }
}
