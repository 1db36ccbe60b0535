//! One `.ckpt` file: the sections of a state in a burnpack container, with the JSON parts in its header.
//!
//! `FORMAT.md` describes the bytes, `write.rs` writes them. Reading checks every length in the file against the file's
//! size before anything is allocated for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_pack::{HEADER_SIZE, Header, Reader, Scalar, Tensor};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::layout::name_error;
use crate::section::Section;

/// The newest version of the container that is written and read.
pub const FORMAT_VERSION: u32 = 1;

/// Section of the model's parameters and running statistics.
pub const MODEL: &str = "model";
/// Section of the optimizer's state.
pub const OPTIMIZER: &str = "optimizer";
/// Section of the learning-rate scheduler's state.
pub const SCHEDULER: &str = "scheduler";
/// Section of the values that a run has logged.
pub const HISTORY: &str = "history";
/// First part of the names of a program's own sections: `user.<part>`.
pub const USER_PREFIX: &str = "user.";

const FORMAT_KEY: &str = "burn-ckpt.format";
const SECTIONS_KEY: &str = "burn-ckpt.sections";
const HPARAMS_KEY: &str = "burn-ckpt.hparams";
const TRAINER_STATE_KEY: &str = "burn-ckpt.trainer_state";

/// Everything that goes into one checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The model's hyperparameters, from which the model can be built.
    pub hparams: Value,
    /// What the training loop needs to go on (epoch, step, best scores, ..).
    pub trainer_state: Value,
    /// The sections by name: [`MODEL`] first, then [`OPTIMIZER`], [`SCHEDULER`] and [`HISTORY`] unless only the
    /// weights are saved, then a program's own under [`USER_PREFIX`].
    pub sections: IndexMap<String, Section>,
}

impl Contents {
    /// Contents without sections, for a model with these hyperparameters.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when the hyperparameters cannot be written as JSON.
    pub fn new(hparams: &impl Serialize) -> Result<Self> {
        let hparams = serde_json::to_value(hparams)
            .map_err(|error| Error::Snapshot(format!("the hyperparameters are no JSON: {error}")))?;
        Ok(Self { hparams, ..Self::default() })
    }

    /// Adds a section: [`MODEL`], or a program's own under [`USER_PREFIX`].
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Section) -> Self {
        self.sections.insert(name.into(), section);
        self
    }
}

/// A checkpoint's header: all that can be known without reading a tensor.
#[derive(Debug)]
pub(crate) struct ContainerHeader {
    pub(crate) hparams: Value,
    pub(crate) trainer_state: Value,
    pub(crate) sections: Vec<String>,
    reader: Opened,
}

/// The file's entries.
struct Opened(Reader);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.tensor_names()).finish()
    }
}

/// What a container holds, under the names that it has in the file.
pub(crate) struct Entries {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) scalars: BTreeMap<String, Scalar>,
    pub(crate) strings: BTreeMap<String, String>,
}

/// The entries that contents become.
pub(crate) fn entries(contents: Contents) -> Result<Entries> {
    let sections: Vec<&str> = contents.sections.keys().map(String::as_str).collect();
    sections.iter().try_for_each(|section| check_name(section))?;
    let mut strings = BTreeMap::from([
        (FORMAT_KEY.to_owned(), FORMAT_VERSION.to_string()),
        (SECTIONS_KEY.to_owned(), Value::from(sections).to_string()),
        (HPARAMS_KEY.to_owned(), contents.hparams.to_string()),
        (TRAINER_STATE_KEY.to_owned(), contents.trainer_state.to_string()),
    ]);
    let (mut tensors, mut scalars) = (Vec::new(), BTreeMap::new());
    for (section, part) in contents.sections {
        let named = |name: String| format!("{section}.{name}");
        tensors.extend(part.tensors.into_iter().map(|mut tensor| {
            tensor.name = named(tensor.name);
            tensor
        }));
        scalars.extend(part.scalars.into_iter().map(|(name, value)| (named(name), value)));
        strings.extend(part.strings.into_iter().map(|(name, value)| (named(name), value)));
    }
    Ok(Entries { tensors, scalars, strings })
}

impl ContainerHeader {
    /// Reads a container's header. The tensors stay on disk.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        check_lengths(path)?;
        let reader =
            Reader::from_file_exact(path).map_err(|error| not_a_checkpoint(path, error.to_string()))?;
        let strings = reader.metadata();
        let Some(format) = strings.get(FORMAT_KEY) else {
            let reason = format!("it is a burnpack file without {FORMAT_KEY}; a module's load_file reads it");
            return Err(not_a_checkpoint(path, reason));
        };
        let found: u32 =
            format.parse().map_err(|_| not_a_checkpoint(path, format!("its format is {format:?}")))?;
        if found > FORMAT_VERSION {
            return Err(Error::NewerFormat { path: path.to_path_buf(), found, supported: FORMAT_VERSION });
        }
        let json = |key: &str| -> Result<Value> {
            let text = strings.get(key).ok_or_else(|| not_a_checkpoint(path, format!("{key} is missing")))?;
            serde_json::from_str(text)
                .map_err(|error| not_a_checkpoint(path, format!("{key} is no JSON: {error}")))
        };
        let sections = serde_json::from_value(json(SECTIONS_KEY)?).map_err(|error| {
            not_a_checkpoint(path, format!("{SECTIONS_KEY} is no list of names: {error}"))
        })?;
        let (hparams, trainer_state) = (json(HPARAMS_KEY)?, json(TRAINER_STATE_KEY)?);
        Ok(Self { hparams, trainer_state, sections, reader: Opened(reader) })
    }

    /// One section under its own names. Its tensors are read from the file when their bytes are asked for.
    pub(crate) fn into_section(self, path: &Path, section: &str) -> Result<Section> {
        if !self.sections.iter().any(|present| present == section) {
            return Err(Error::MissingSection {
                path: path.to_path_buf(),
                section: section.to_owned(),
                present: self.sections.join(", "),
            });
        }
        let prefix = format!("{section}.");
        let reader = self.reader.0;
        let scalars = unprefixed(&prefix, reader.scalars());
        let strings = unprefixed(&prefix, reader.metadata());
        let tensors = reader.into_tensors().map_err(Error::container(path))?;
        let tensors = tensors
            .into_iter()
            .filter_map(|mut tensor| {
                tensor.name = tensor.name.strip_prefix(&prefix)?.to_owned();
                Some(tensor)
            })
            .collect();
        Ok(Section { tensors, scalars, strings })
    }

    /// All tensors under the names that they have in the file.
    pub(crate) fn into_tensors(self, path: &Path) -> Result<Vec<Tensor>> {
        self.reader.0.into_tensors().map_err(Error::container(path))
    }
}

/// A dot in a part's name would leave open where the section's name ends.
fn check_name(section: &str) -> Result<()> {
    let known = [MODEL, OPTIMIZER, SCHEDULER, HISTORY].contains(&section);
    let own = section.strip_prefix(USER_PREFIX).is_some_and(|part| !part.is_empty() && !part.contains('.'));
    if known || own {
        return Ok(());
    }
    let reason = "a section is model, optimizer, scheduler, or user.<part> with a part that has no dot";
    Err(name_error("the section", section, reason.to_owned()))
}

/// Compares the lengths that the header states with the file's, which burnpack's reader does only after it has
/// allocated for them.
fn check_lengths(path: &Path) -> Result<()> {
    // Asked before opening it, which would wait for ever at a pipe.
    let facts = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if !facts.is_file() {
        let what = if facts.is_dir() { "it is a directory" } else { "it is no regular file" };
        return Err(not_a_checkpoint(path, what.to_owned()));
    }
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = [0; HEADER_SIZE];
    if facts.len() < HEADER_SIZE as u64 {
        return Err(not_a_checkpoint(path, format!("it has only {} bytes", facts.len())));
    }
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    let header = Header::from_bytes(&bytes)
        .map_err(|error| not_a_checkpoint(path, foreign(&bytes, facts.len()).unwrap_or(error.to_string())))?;
    let needed = HEADER_SIZE as u64 + u64::from(header.metadata_size);
    if facts.len() < needed {
        let reason = format!("it has {} bytes, and its header alone needs {needed}", facts.len());
        return Err(not_a_checkpoint(path, reason));
    }
    Ok(())
}

/// What a file is that begins otherwise than a checkpoint, and what to do with it.
fn foreign(start: &[u8; HEADER_SIZE], file_size: u64) -> Option<String> {
    // A safetensors file begins with the length of its header, which is JSON.
    let [length @ .., brace, _] = *start;
    let is_safetensors = brace == b'{' && u64::from_le_bytes(length) < file_size;
    let what = if is_safetensors {
        "a safetensors file"
    } else if start.starts_with(b"PK\x03\x04") {
        "a ZIP archive, as PyTorch's files are"
    } else if start[0] == 0x80 && start[1] <= 5 {
        "a pickle, as PyTorch's old files are"
    } else {
        return None;
    };
    Some(format!("it looks like {what}; `burn-ckpt import` makes a checkpoint of such a file"))
}

fn unprefixed<V: Clone>(prefix: &str, entries: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    entries
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}

fn not_a_checkpoint(path: &Path, reason: String) -> Error {
    Error::NotACheckpoint { path: path.to_path_buf(), reason }
}
