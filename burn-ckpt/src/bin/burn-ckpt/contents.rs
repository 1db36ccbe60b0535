//! The contents of a checkpoint for `show` and `diff`: its metadata as JSON, and its sections with their
//! tensors in the order in which they are stored. Reads no tensor.

use std::io::Read;

use burn_ckpt::burn_pack::Scalar;
use burn_ckpt::plumbing::storage::StoredFile;
use burn_ckpt::plumbing::{LaterTags, MAX_METADATA_BYTES, metadata_path, run_of_checkpoint};
use burn_ckpt::{Checkpoint, Error, Metadata, Section, chain};
use serde_json::Value;

use crate::ls::listing::{is_without_metadata, reason};
use crate::metrics::json::json_number;
use crate::tag::run_tags::RunTags;
use crate::terminal::output::say;
use crate::terminal::printable::in_one_line;
use crate::verb_result::Failure;

/// A checkpoint without its tensors' values.
pub struct Contents {
    pub checkpoint: Checkpoint,
    /// The metadata, or why it cannot be read.
    pub metadata: Result<Metadata, Error>,
    /// The JSON of the metadata file, including unknown keys; null if there is no valid metadata.
    pub metadata_json: Value,
    /// Of its run, with those that were given later.
    pub tags: RunTags,
    pub hparams: Value,
    pub trainer_state: Value,
    pub sections: Vec<Part>,
    /// The size of all its files.
    pub bytes: u64,
}

/// A section.
pub struct Part {
    pub name: String,
    pub tensors: Vec<TensorRow>,
    pub section: Section,
}

/// A tensor without its values.
pub struct TensorRow {
    /// The name in the section.
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    pub bytes: usize,
    /// The type of the module that owns it, if it is a tensor of the model.
    pub module: Option<String>,
    /// The digest in the metadata, if the metadata has a tensor of this name, type and shape.
    pub blake3: Option<String>,
}

/// What is wrong with a checkpoint, as far as its size and metadata show it.
pub struct Problem {
    pub text: String,
    /// False for a file that lacks its metadata alone: it is not known to be damaged.
    pub is_damage: bool,
}

impl Contents {
    /// What is wrong with the checkpoint. `burn-ckpt verify` reads its bytes.
    pub fn problem(&self) -> Option<Problem> {
        let path = in_one_line(&self.checkpoint.path().display().to_string());
        let text = match &self.metadata {
            Ok(metadata) if metadata.total_bytes() == self.bytes => return None,
            Ok(metadata) => format!(
                "{path} has {} bytes, and its metadata says {}: see burn-ckpt verify",
                self.bytes,
                metadata.total_bytes()
            ),
            Err(error) => format!("{path}: {}", reason(error)),
        };
        let is_damage = self.metadata.as_ref().err().is_none_or(|error| !is_without_metadata(error));
        Some(Problem { text, is_damage })
    }

    pub fn of(checkpoint: Checkpoint) -> Result<Self, Failure> {
        let bytes = checkpoint.total_bytes();
        let metadata = checkpoint.metadata();
        let metadata_json = match metadata {
            Ok(ref metadata) => whole_json(&checkpoint, metadata)?,
            Err(_) => Value::Null,
        };
        let known = metadata.as_ref().ok();
        let run = run_of_checkpoint(checkpoint.path());
        let later = run.map_or(Ok(LaterTags::default()), |run| LaterTags::read(run.run_dir()));
        let later = later.unwrap_or_else(|error| {
            say(format!("warning: {}", chain(&error)));
            LaterTags::default()
        });
        let tags = RunTags::new(known.map_or(&Value::Null, |known| &known.trainer_config), &later);
        let sections = checkpoint
            .sections()
            .iter()
            .map(|name| Part::of(&checkpoint, name, known))
            .collect::<Result<_, _>>()?;
        let (hparams, trainer_state) = (checkpoint.hparams()?, checkpoint.trainer_state()?);
        Ok(Self { checkpoint, metadata, metadata_json, tags, hparams, trainer_state, sections, bytes })
    }

    pub fn section(&self, name: &str) -> Option<&Part> {
        self.sections.iter().find(|part| part.name == name)
    }
}

impl Part {
    fn of(checkpoint: &Checkpoint, name: &str, metadata: Option<&Metadata>) -> Result<Self, Failure> {
        let section = checkpoint.section(name)?;
        let modules = if name == Section::MODEL { Some(section.module_types()?) } else { None };
        let stored = |tensor: &str| {
            let name = format!("{name}.{tensor}");
            metadata.and_then(|metadata| metadata.tensors.get_full(&name))
        };
        let mut rows: Vec<(usize, TensorRow)> = section
            .tensors
            .iter()
            .map(|tensor| {
                let (dtype, shape) = (tensor.dtype.name().to_owned(), tensor.shape.to_vec());
                let known = stored(&tensor.name);
                let same = known.filter(|(_, _, info)| info.dtype == dtype && info.shape == shape);
                let row = TensorRow {
                    name: tensor.name.clone(),
                    bytes: tensor.byte_len(),
                    module: modules.as_ref().and_then(|modules| modules.of(&tensor.name)).map(str::to_owned),
                    blake3: same.map(|(_, _, info)| info.blake3.clone()),
                    dtype,
                    shape,
                };
                (known.map_or(usize::MAX, |(place, ..)| place), row)
            })
            .collect();
        rows.sort_by_key(|(place, _)| *place);
        let tensors = rows.into_iter().map(|(_, row)| row).collect();
        Ok(Self { name: name.to_owned(), tensors, section })
    }

    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes as u64).sum()
    }
}

impl TensorRow {
    /// How many numbers it has. Saturates, as the reader does not compare the shape of a quantised tensor
    /// with its bytes.
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product, size| product.saturating_mul(*size))
    }
}

/// A scalar as JSON.
pub fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Int(value) => Value::from(*value),
        Scalar::UInt(value) => Value::from(*value),
        Scalar::Bool(value) => Value::from(*value),
        Scalar::Float(value) => json_number(*value),
    }
}

/// The metadata file as JSON, or the metadata where that file is missing or says something else. Its size is
/// within the limit, as it has just been read.
fn whole_json(checkpoint: &Checkpoint, metadata: &Metadata) -> Result<Value, Error> {
    let path = metadata_path(checkpoint.path());
    let written = metadata.to_json()?;
    let is_this = match Metadata::read(&path) {
        // As JSON, since not every number is equal to itself.
        Ok(beside) => beside.to_json()? == written,
        Err(_) => false,
    };
    if !is_this {
        return serde_json::from_str(&written).map_err(|error| Error::Metadata {
            path,
            reason: "it is not valid JSON".to_owned(),
            source: Some(error),
        });
    }
    let mut text = Vec::new();
    StoredFile::open(&path)
        .and_then(|file| file.take(MAX_METADATA_BYTES).read_to_end(&mut text))
        .map_err(Error::io("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| Error::Metadata {
        path,
        reason: "it is not valid JSON".to_owned(),
        source: Some(error),
    })
}
