//! The header of a `.ckpt` file: everything that is known without reading a tensor.
//!
//! Every length in the file is compared with the file's size before anything is allocated for it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use burn_pack::{Scalar, Tensor};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Cause, Error, Result};
use crate::file_names::checkpoint_of_shards;
use crate::format::container::bounded_json::{JsonError, parse};
use crate::format::container::descriptors::Descriptors;
use crate::format::container::limits::{MAX_JSON_BYTES, MAX_JSON_VALUES, MAX_SHARDS};
use crate::format::container::open_file::OpenFile;
use crate::format::container::read_errors::ReadErrors;
use crate::format::container::read_header::{check_version, read_descriptors, stored_tensors};
use crate::format::container::stored_tensor::StoredTensor;
use crate::format::contents::{
    FORMAT_KEY, FORMAT_VERSION, HPARAMS_KEY, SECTIONS_KEY, SHARD_KEY, SHARDS_KEY, TRAINER_STATE_KEY,
    check_name,
};
use crate::format::metadata::embedded::{EmbeddedMetadata, OWN_PREFIX};
use crate::format::section::Section;
use crate::text::printable::shown;

/// A checkpoint's header: everything that is known without reading a tensor. It holds the file from which it
/// was read.
#[derive(Debug)]
pub(crate) struct ContainerHeader {
    pub(crate) hparams: Value,
    pub(crate) trainer_state: Value,
    pub(crate) sections: Vec<String>,
    /// The version of the checkpoint format.
    pub(crate) format: u32,
    /// The number of other files that have the state's tensors; 0 for a checkpoint of one file.
    pub(crate) shards: usize,
    file: Arc<OpenFile>,
    /// Of the state, without the checkpoint's own entries. Those of shards are not here before the shards are
    /// opened.
    tensors: Vec<StoredTensor>,
    scalars: BTreeMap<String, Scalar>,
    strings: BTreeMap<String, String>,
}

impl ContainerHeader {
    /// Reads a container's header. The tensors stay on disk.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::of(OpenFile::open(path)?)
    }

    /// Reads the header of an open container.
    pub(crate) fn of(file: OpenFile) -> Result<Self> {
        let file = Arc::new(file);
        Self::parsed(&file).map_err(|error| match error {
            Error::NewerFormat { .. } => newer_or_damaged(&file, error),
            error => error,
        })
    }

    fn parsed(file: &Arc<OpenFile>) -> Result<Self> {
        let path = file.path();
        let (Descriptors { tensors, metadata: strings, scalars }, header_bytes) = read_descriptors(file)?;
        let Some(format) = strings.get(FORMAT_KEY) else {
            let reason = match strings.contains_key(SHARD_KEY) {
                true => what_a_shard_is(path),
                false => {
                    format!("it is a burnpack file without {FORMAT_KEY}, which burn's load_file reads")
                }
            };
            return Err(Error::not_a_checkpoint(path, reason));
        };
        let invalid = |reason: String, source: Option<Cause>| Error::damaged(path, reason, source);
        let found: u32 = format
            .parse()
            .map_err(|error| invalid(format!("its format is {:?}", shown(format)), Some(Box::new(error))))?;
        check_version(path, "checkpoint format", found, FORMAT_VERSION)?;
        let mut tensors = stored_tensors(file, tensors, header_bytes)?;
        tensors.retain(|tensor| !tensor.name.starts_with(OWN_PREFIX));
        let shards = match strings.get(SHARDS_KEY) {
            None => 0,
            Some(count) => parse_count(count).ok_or_else(|| {
                let reason = format!("it has {:?} shards, and 1 to {MAX_SHARDS} are allowed", shown(count));
                invalid(reason, None)
            })?,
        };
        if shards > 0 && !tensors.is_empty() {
            return Err(invalid("it has tensors of its own beside those in its shards".to_owned(), None));
        }
        let sections: Vec<String> = json(path, &strings, SECTIONS_KEY)?;
        check_sections(path, &sections)?;
        let (hparams, trainer_state) =
            (json(path, &strings, HPARAMS_KEY)?, json(path, &strings, TRAINER_STATE_KEY)?);
        let file = Arc::clone(file);
        Ok(Self { hparams, trainer_state, sections, format: found, shards, file, tensors, scalars, strings })
    }

    /// The file that the header is from.
    pub(crate) fn file(&self) -> &OpenFile {
        &self.file
    }

    /// The same for an owner of its own.
    #[cfg(feature = "mirror")]
    pub(crate) fn shared_file(&self) -> Arc<OpenFile> {
        Arc::clone(&self.file)
    }

    /// Adds the tensors of the shards.
    pub(crate) fn set_tensors(&mut self, tensors: Vec<StoredTensor>) {
        self.tensors = tensors;
    }

    /// One section under its own names. Its tensors stay in the file until their bytes are read.
    pub(crate) fn section(&self, section: &str) -> Result<Section> {
        if !self.sections.iter().any(|present| present == section) {
            return Err(Error::MissingSection {
                path: self.file.path().to_path_buf(),
                section: section.to_owned(),
                present: shown(&self.sections.join(", ")),
            });
        }
        let prefix = format!("{section}.");
        let errors = ReadErrors::default();
        let tensors: Vec<Tensor> = self
            .tensors
            .iter()
            .filter_map(|tensor| Some(tensor.tensor(tensor.name.strip_prefix(&prefix)?, &errors)))
            .collect();
        let section = Section::new()
            .with_tensors(tensors)
            .with_scalars(unprefixed(&prefix, &self.scalars))
            .with_strings(unprefixed(&prefix, &self.strings));
        Ok(section.with_read_errors(errors))
    }

    /// All tensors of the state under the names that they have in the file.
    pub(crate) fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }
}

/// Checks that each section has a name that a save would have written, once. So no tensor is of two sections.
fn check_sections(path: &Path, sections: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    for section in sections {
        if let Err(error) = check_name(section) {
            return Err(Error::damaged(path, "the name of a section is invalid", Some(Box::new(error))));
        }
        if !seen.insert(section) {
            let reason = format!("the section {} is in its list twice", shown(section));
            return Err(Error::damaged(path, reason, None));
        }
    }
    Ok(())
}

/// What the error of a newer version is: a changed bit makes one of another version, and the digest of the
/// header says so.
fn newer_or_damaged(file: &OpenFile, newer: Error) -> Error {
    match EmbeddedMetadata::read(file) {
        Ok(Some(own)) => own.checked_header(file).err().unwrap_or(newer),
        Err(error @ Error::Io { .. }) => error,
        // A newer version can end in another way.
        Ok(None) | Err(_) => newer,
    }
}

fn parse_count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=MAX_SHARDS).contains(count))
}

/// What to name in place of a shard.
fn what_a_shard_is(path: &Path) -> String {
    let index = path.parent().and_then(checkpoint_of_shards);
    let index = index.map_or_else(|| "its .ckpt file".to_owned(), |index| index.display().to_string());
    format!("it is one of several files of a checkpoint; name {index}")
}

/// One of the header's strings that is JSON.
fn json<T: DeserializeOwned>(path: &Path, strings: &BTreeMap<String, String>, key: &str) -> Result<T> {
    let text = strings.get(key).ok_or_else(|| Error::damaged(path, format!("{key} is missing"), None))?;
    if text.len() as u64 > MAX_JSON_BYTES {
        let reason = format!("{key} has {} bytes, and {MAX_JSON_BYTES} are allowed", text.len());
        return Err(Error::damaged(path, reason, None));
    }
    parse(text.as_bytes(), MAX_JSON_VALUES).map_err(|error| {
        let reason = match &error {
            JsonError::Invalid(_) if error.is_of_another_form() => "is not what it should be",
            JsonError::Invalid(_) => "is not valid JSON",
            _ => "is larger than it may be",
        };
        Error::damaged(path, format!("{key} {reason}"), Some(Box::new(error)))
    })
}

fn unprefixed<V: Clone>(prefix: &str, entries: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    entries
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}
