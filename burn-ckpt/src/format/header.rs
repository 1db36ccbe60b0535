//! The header of a `.ckpt` file: everything that is known without reading a tensor.
//!
//! Every length in the file is compared with the file's size before anything is allocated for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn_pack::{HEADER_SIZE, Header, Scalar, Tensor};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Cause, Error, Result};
use crate::format::container::bounded_json::{JsonError, parse};
use crate::format::container::descriptors::Descriptors;
use crate::format::container::limits::{MAX_HEADER_BYTES, MAX_JSON_BYTES, MAX_JSON_VALUES};
use crate::format::container::open_file::OpenFile;
use crate::format::container::read_errors::ReadErrors;
use crate::format::container::shown::shown;
use crate::format::container::stored_tensor::StoredTensor;
use crate::format::contents::{FORMAT_KEY, FORMAT_VERSION, HPARAMS_KEY, SECTIONS_KEY, TRAINER_STATE_KEY};
use crate::format::metadata::embedded::OWN_PREFIX;
use crate::format::section::Section;

/// A checkpoint's header: everything that is known without reading a tensor. It holds the file from which it was read.
#[derive(Debug)]
pub(crate) struct ContainerHeader {
    pub(crate) hparams: Value,
    pub(crate) trainer_state: Value,
    pub(crate) sections: Vec<String>,
    /// The version of the checkpoint format.
    pub(crate) format: u32,
    file: Arc<OpenFile>,
    /// Of the state, without the checkpoint's own entries.
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
        let path = file.path();
        let (header_bytes, cbor) = read_cbor(&file)?;
        let Descriptors { tensors, metadata: strings, scalars } = Descriptors::decode(&cbor)
            .map_err(|error| Error::damaged(path, "its header cannot be parsed", Some(Box::new(error))))?;
        drop(cbor);
        let Some(format) = strings.get(FORMAT_KEY) else {
            let reason = format!("it is a burnpack file without {FORMAT_KEY}, which burn's load_file reads");
            return Err(Error::not_a_checkpoint(path, reason));
        };
        let invalid = |reason: String, source: Cause| Error::damaged(path, reason, Some(source));
        let found: u32 = format
            .parse()
            .map_err(|error| invalid(format!("its format is {:?}", shown(format)), Box::new(error)))?;
        check_version(path, "checkpoint format", found, FORMAT_VERSION)?;
        let tensors = tensors
            .into_iter()
            .map(|(name, stored)| StoredTensor::checked(name, stored, header_bytes, file.size()));
        let tensors = tensors.collect::<Result<Vec<_>, _>>();
        let mut tensors = tensors.map_err(|reason| Error::damaged(path, reason, None))?;
        StoredTensor::check_apart(&tensors).map_err(|reason| Error::damaged(path, reason, None))?;
        tensors.retain(|tensor| !tensor.name.starts_with(OWN_PREFIX));
        let sections = json(path, &strings, SECTIONS_KEY)?;
        let (hparams, trainer_state) =
            (json(path, &strings, HPARAMS_KEY)?, json(path, &strings, TRAINER_STATE_KEY)?);
        let (format, file) = (found, Arc::new(file));
        Ok(Self { hparams, trainer_state, sections, format, file, tensors, scalars, strings })
    }

    /// The file that the header is from.
    pub(crate) fn file(&self) -> &OpenFile {
        &self.file
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
            .filter_map(|tensor| Some(tensor.tensor(tensor.name.strip_prefix(&prefix)?, &self.file, &errors)))
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

/// Reads the header's CBOR, and its length. Compares the length with the file's before memory is allocated for it.
fn read_cbor(file: &OpenFile) -> Result<(u32, Vec<u8>)> {
    let (path, size) = (file.path(), file.size());
    if let Some(reason) = file.stand_in()? {
        return Err(Error::not_a_checkpoint(path, reason));
    }
    if size < HEADER_SIZE as u64 {
        return Err(Error::not_a_checkpoint(path, format!("it has only {size} bytes")));
    }
    let mut bytes = [0; HEADER_SIZE];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    let Ok(header) = Header::from_bytes(&bytes) else {
        let reason = foreign(&bytes, size);
        return Err(Error::not_a_checkpoint(path, reason.unwrap_or("it does not begin like one".to_owned())));
    };
    let (version, supported) = (u32::from(header.version), u32::from(burn_pack::FORMAT_VERSION));
    check_version(path, "burnpack format", version, supported)?;
    let length = header.metadata_size;
    let needed = HEADER_SIZE as u64 + u64::from(length);
    if size < needed {
        let reason = format!("it has {size} bytes, and its header alone needs {needed}");
        return Err(Error::damaged(path, reason, None));
    }
    if length > MAX_HEADER_BYTES {
        let reason = format!("its header has {length} bytes, and {MAX_HEADER_BYTES} are allowed");
        return Err(Error::damaged(path, reason, None));
    }
    let mut cbor = vec![0; length as usize];
    file.read_exact_at(&mut cbor, HEADER_SIZE as u64).map_err(Error::io("read", path))?;
    Ok((length, cbor))
}

fn check_version(path: &Path, format: &'static str, found: u32, supported: u32) -> Result<()> {
    if found > supported {
        return Err(Error::NewerFormat { path: path.to_path_buf(), format, found, supported });
    }
    Ok(())
}

/// Which format a file seems to have that does not begin like a checkpoint, and what to do with it.
fn foreign(start: &[u8; HEADER_SIZE], file_size: u64) -> Option<String> {
    // A safetensors file begins with the length of its header, which is JSON.
    let [length @ .., brace, _] = *start;
    let is_safetensors = brace == b'{' && u64::from_le_bytes(length) < file_size;
    let what = if is_safetensors {
        "a safetensors file"
    } else if start.starts_with(b"PK\x03\x04") {
        "a ZIP archive, such as PyTorch's torch.save writes"
    } else if start[0] == 0x80 && start[1] <= 5 {
        "a pickle, such as PyTorch's older versions write"
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
