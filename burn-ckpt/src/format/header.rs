//! The header of a `.ckpt` file: all that is known without reading a tensor.
//!
//! Every length in the file is compared with the file's size before anything is allocated for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_pack::{HEADER_SIZE, Header, Reader, Tensor};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::contents::{FORMAT_KEY, FORMAT_VERSION, HPARAMS_KEY, SECTIONS_KEY, TRAINER_STATE_KEY};
use crate::format::section::Section;

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
