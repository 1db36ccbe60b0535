//! The average of several checkpoints of one model: checks that they fit each other, and writes a checkpoint
//! of weights.
//!
//! `load` and `format` read and verify the inputs, `save` writes. `mean` has the arithmetic.

mod mean;

use std::collections::HashMap;
use std::path::Path;

use burn_pack::{DType, Tensor};
use serde_json::{Value, json};

use crate::disk::staged_file::Existing;
use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::format::contents::Contents;
use crate::format::metadata::Metadata;
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;
use crate::text::printable::shown;

/// The section that says which checkpoints were averaged.
const SECTION: &str = "user.average";
/// Its string: JSON of the checkpoints.
const SOURCES: &str = "sources";

/// A checkpoint that is averaged.
struct Input {
    checkpoint: Checkpoint,
    metadata: Metadata,
    section: Section,
    /// The section's tensors by name.
    tensors: HashMap<String, Tensor>,
}

/// Averages the models of checkpoints, and writes the average as a checkpoint of weights, which is what
/// stochastic weight averaging and "the average of the last n checkpoints" are. Returns the file's size in
/// bytes.
///
/// Each parameter and each running statistic of a float type is the mean of those in the checkpoints,
/// computed in `f64` and rounded once to its type. Other tensors, hyperparameters and epoch are those of the
/// checkpoint that was saved last. The result has no metrics, since none were measured on it, and no
/// optimizer, so that it cannot be resumed. Its section `user.average` names the checkpoints with their
/// digests. The running statistics of batch normalisation are those of the averaged models: a pass over the
/// training data would give those of the average.
///
/// Each tensor is verified while it is read. The inputs may be files, links, or `best` and `last` of runs, as
/// [`locate`](crate::locate) finds them. A file that is there under the name `out` is replaced.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// burn_ckpt::average(&["runs/a/best", "runs/b/best", "runs/c/best"], "average.ckpt")?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::Name`] for fewer than two checkpoints; [`Error::Differs`] naming two checkpoints and the first
/// difference: another tensor, shape, type, layout or hyperparameter, or that they are one state, which a run
/// can have saved whole and as weights only; [`Error::Load`] for a checkpoint with values that are not
/// finite; the errors of [`Checkpoint::open`], [`Checkpoint::verified_section`] and [`Contents::save`].
pub fn average(checkpoints: &[impl AsRef<Path>], out: impl AsRef<Path>) -> Result<u64> {
    average_with(checkpoints, out, Existing::Replace)
}

/// The same with what becomes of a file that has the name already.
///
/// # Errors
///
/// As for [`average`]; an [`Error::Io`] of the kind "already exists" for a file that is kept.
pub fn average_with(
    checkpoints: &[impl AsRef<Path>],
    out: impl AsRef<Path>,
    existing: Existing,
) -> Result<u64> {
    let out = out.as_ref();
    if checkpoints.len() < 2 {
        let count = checkpoints.len().to_string();
        return Err(name_error("the number of checkpoints", &count, "an average has at least 2".to_owned()));
    }
    let mut inputs = checkpoints.iter().map(|path| Input::open(path.as_ref())).collect::<Result<Vec<_>>>()?;
    // The newest one first: what is not averaged is taken from it.
    inputs.sort_by_key(|input| std::cmp::Reverse(input.metadata.checkpoint_timestamp));
    for (index, input) in inputs.iter().enumerate() {
        inputs[..index].iter().try_for_each(|other| other.check_is_another_state_than(input))?;
    }
    let (newest, others) = inputs.split_first().ok_or_else(|| {
        name_error("the number of checkpoints", "0", "an average has at least 2".to_owned())
    })?;
    others.iter().try_for_each(|other| newest.check_fits(other))?;
    let sources: Vec<Value> = inputs.iter().rev().map(Input::described).collect();
    let metadata = newest.metadata_of_average(inputs.len()).with_non_finite(known_at_start(&inputs));
    let hparams = newest.checkpoint.raw_hparams().clone();
    let section = averaged(inputs);
    let mut origin = Section::new();
    origin.strings.insert(SOURCES.to_owned(), Value::from(sources).to_string());
    Contents::new(&hparams)?
        .with_section(Section::MODEL, section)
        .with_section(SECTION, origin)
        .save_with(out, metadata, existing)
}

impl Input {
    fn open(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let metadata = checkpoint.metadata_with_checksum()?;
        if let Some(found) = metadata.found_non_finite() {
            let reason =
                format!("it has {}, and so would the average: leave it out", shown(&found.to_string()));
            return Err(Error::Load { path: checkpoint.path().to_path_buf(), reason, source: None });
        }
        let section = checkpoint.verified_section(Section::MODEL)?;
        let tensors = section.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.clone()));
        let tensors = tensors.collect();
        Ok(Self { checkpoint, metadata, section, tensors })
    }

    fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    fn differs(&self, other: &Self, reason: String) -> Error {
        Error::Differs { path: self.path().to_path_buf(), other: other.path().to_path_buf(), reason }
    }

    /// Two names of one state would count it twice. The weights alone of a state are another file.
    fn check_is_another_state_than(&self, other: &Self) -> Result<()> {
        let (one, two) = (&self.metadata, &other.metadata);
        let state = |of: &Metadata| (of.run_id.clone(), of.checkpoint_timestamp, of.global_step);
        // What no run has saved says less of its state.
        let is_same_of_run = !one.run_id.is_empty() && state(one) == state(two);
        if one.checkpoint_checksum == two.checkpoint_checksum || is_same_of_run {
            return Err(self.differs(other, "they are the same state: leave out one".to_owned()));
        }
        Ok(())
    }

    /// Compares everything that an average needs. Reads no tensor.
    fn check_fits(&self, other: &Self) -> Result<()> {
        let differs = |reason: String| Err(self.differs(other, reason));
        let (hparams, others) = (self.checkpoint.raw_hparams(), other.checkpoint.raw_hparams());
        if let Some(reason) = first_difference("hparams", hparams, others) {
            return differs(reason);
        }
        let (layout, others) = (self.section.layout()?.name(), other.section.layout()?.name());
        if layout != others {
            return differs(format!("the layouts of their tensors are {layout} and {others}"));
        }
        for tensor in &other.section.tensors {
            if !self.tensors.contains_key(&tensor.name) {
                return differs(format!("the tensor {} is only in the second", shown(&tensor.name)));
            }
        }
        for tensor in &self.section.tensors {
            let name = shown(&tensor.name);
            let Some(others) = other.tensors.get(&tensor.name) else {
                return differs(format!("the tensor {name} is only in the first"));
            };
            if tensor.shape != others.shape {
                let (shape, others) = (tensor.shape.as_slice(), others.shape.as_slice());
                return differs(format!("{name} is {shape:?} and {others:?}"));
            }
            if tensor.dtype != others.dtype {
                return differs(format!("{name} is {} and {}", tensor.dtype.name(), others.dtype.name()));
            }
            if matches!(tensor.dtype, DType::QFloat(_)) {
                return differs(format!("{name} is quantized, which cannot be averaged"));
            }
        }
        Ok(())
    }

    fn described(&self) -> Value {
        json!({
            "path": self.path().to_string_lossy(),
            "checksum": self.metadata.checkpoint_checksum,
            "run_id": self.metadata.run_id,
            "epoch": self.metadata.epoch,
            "global_step": self.metadata.global_step,
        })
    }

    fn metadata_of_average(&self, count: usize) -> Metadata {
        let of = &self.metadata;
        Metadata {
            run_id: of.run_id.clone(),
            name: of.name.clone(),
            project: of.project.clone(),
            ..Metadata::new(jiff::Timestamp::now())
        }
        .with_start_timestamp(of.start_timestamp)
        .with_epoch(of.epoch)
        .with_global_step(of.global_step)
        .with_training_time_seconds(of.training_time_seconds)
        .with_model(of.model.clone())
        .with_environment(of.environment.clone())
        .with_reason(format!("average of {count} checkpoints"))
    }
}

/// The tensors that are not finite from the start in all inputs, as a mask of `-inf` is: in the average they
/// are so too. One that is so in some of them alone spoils the average, which then says it.
fn known_at_start(inputs: &[Input]) -> NonFiniteTensors {
    let names = |input: &Input| {
        let known = input.metadata.non_finite.as_ref();
        known.map(NonFiniteTensors::names_at_start).unwrap_or_default()
    };
    let mut all = inputs.iter().map(names);
    let mut known = all.next().unwrap_or_default();
    all.for_each(|others| known.retain(|name| others.contains(name)));
    NonFiniteTensors::apart_from(&known)
}

/// The section of the average: that of the first input, with the mean over all in place of each float tensor.
fn averaged(inputs: Vec<Input>) -> Section {
    let mut inputs = inputs.into_iter();
    let Some(Input { mut section, .. }) = inputs.next() else { return Section::new() };
    let mut others: Vec<HashMap<String, Tensor>> = inputs.map(|input| input.tensors).collect();
    let tensors = std::mem::take(&mut section.tensors).into_iter().map(|tensor| {
        if !mean::is_averaged(tensor.dtype) {
            return tensor;
        }
        let same = others.iter_mut().filter_map(|other| other.remove(&tensor.name));
        mean::of(&tensor, std::iter::once(tensor.clone()).chain(same).collect())
    });
    let tensors = tensors.collect();
    section.with_tensors(tensors)
}

/// The first field in which two values differ, with both.
fn first_difference(path: &str, one: &Value, other: &Value) -> Option<String> {
    if one == other {
        return None;
    }
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        for (key, value) in one {
            let path = format!("{path}.{key}");
            match other.get(key) {
                Some(others) => {
                    if let Some(difference) = first_difference(&path, value, others) {
                        return Some(difference);
                    }
                }
                None => return Some(format!("{} is only in the first", shown(&path))),
            }
        }
        if let Some(key) = other.keys().find(|key| !one.contains_key(*key)) {
            return Some(format!("{} is only in the second", shown(&format!("{path}.{key}"))));
        }
    }
    let (one, other) = (one.to_string(), other.to_string());
    Some(format!("{} is {} and {}", shown(path), shown(&one), shown(&other)))
}

#[cfg(test)]
mod tests {
    use burn_pack::Bytes;

    use super::*;

    /// A model of a weight, and of a mask of `-inf` that its run had from its start, or not.
    fn saved(path: &Path, step: u64, at_start: &[&str]) {
        let tensor = |name: &str, value: f32| {
            let bytes = Bytes::from_bytes_vec(value.to_le_bytes().to_vec());
            Tensor::new(name.to_owned(), DType::F32, vec![1], None, bytes)
        };
        let masked = if at_start.is_empty() { 0.0 } else { f32::NEG_INFINITY };
        let model = Section::new().with_tensors(vec![tensor("mask", masked), tensor("weight", step as f32)]);
        let names: Vec<String> = at_start.iter().map(|name| (*name).to_owned()).collect();
        let metadata = Metadata::new(jiff::Timestamp::UNIX_EPOCH).with_global_step(step);
        let metadata = metadata.with_non_finite(NonFiniteTensors::apart_from(&names));
        let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, model);
        contents.save(path, metadata).unwrap();
    }

    #[test]
    fn a_mask_that_is_not_finite_in_each_model_from_its_start_does_not_count_in_their_average() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, other, out] = ["1", "2", "3", "out"].map(|name| directory.path().join(name));
        saved(&one, 1, &["mask"]);
        saved(&two, 2, &["mask"]);
        saved(&other, 3, &[]);
        let averaged = |inputs: &[&Path]| {
            average(inputs, &out).unwrap();
            Metadata::of_checkpoint(&out).unwrap()
        };
        let of_masks = averaged(&[&one, &two]);
        assert!(of_masks.is_finite(), "{:?}", of_masks.non_finite);
        assert_eq!(of_masks.non_finite.unwrap().at_start, ["model.mask"]);
        let spoiled = averaged(&[&one, &other]);
        let found = spoiled.found_non_finite().unwrap();
        assert_eq!((found.count, found.first.as_deref()), (1, Some("model.mask")));
    }
}
