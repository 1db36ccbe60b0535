//! The header of a `.ckpt` file: everything that is known without reading a tensor.
//!
//! Every length in the file is compared with the file's size before anything is allocated for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn_pack::{HEADER_SIZE, Header, MAX_FILE_SIZE, Reader, Tensor};
use serde_json::Value;

use crate::error::pack_error::PackError;
use crate::error::{Cause, Error, Result};
use crate::format::contents::{FORMAT_KEY, FORMAT_VERSION, HPARAMS_KEY, SECTIONS_KEY, TRAINER_STATE_KEY};
use crate::format::metadata::embedded::OWN_PREFIX;
use crate::format::section::Section;
use crate::format::stand_in::stand_in_at;

/// A checkpoint's header: everything that is known without reading a tensor.
#[derive(Debug)]
pub(crate) struct ContainerHeader {
    pub(crate) hparams: Value,
    pub(crate) trainer_state: Value,
    pub(crate) sections: Vec<String>,
    /// The version of the checkpoint format.
    pub(crate) format: u32,
    reader: EntryReader,
}

/// burn-pack's reader, which has no `Debug`.
struct EntryReader(Reader);

impl std::fmt::Debug for EntryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.tensor_names()).finish()
    }
}

impl ContainerHeader {
    /// Reads a container's header. The tensors stay on disk.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        check_lengths(path)?;
        let reader = Reader::from_file_exact(path).map_err(|error| unreadable_header(path, error))?;
        let strings = reader.metadata();
        let Some(format) = strings.get(FORMAT_KEY) else {
            let reason = format!("it is a burnpack file without {FORMAT_KEY}, which burn's load_file reads");
            return Err(Error::not_a_checkpoint(path, reason));
        };
        let invalid = |reason: String, source: Cause| Error::damaged(path, reason, Some(source));
        let found: u32 =
            format.parse().map_err(|error| invalid(format!("its format is {format:?}"), Box::new(error)))?;
        check_version(path, "checkpoint format", found, FORMAT_VERSION)?;
        let json = |key: &str| -> Result<Value> {
            let text =
                strings.get(key).ok_or_else(|| Error::damaged(path, format!("{key} is missing"), None))?;
            serde_json::from_str(text)
                .map_err(|error| invalid(format!("{key} is not valid JSON"), Box::new(error)))
        };
        let sections = serde_json::from_value(json(SECTIONS_KEY)?)
            .map_err(|error| invalid(format!("{SECTIONS_KEY} is not a list of names"), Box::new(error)))?;
        let (hparams, trainer_state) = (json(HPARAMS_KEY)?, json(TRAINER_STATE_KEY)?);
        Ok(Self { hparams, trainer_state, sections, format: found, reader: EntryReader(reader) })
    }

    /// One section under its own names. Its tensors stay in the file until their bytes are read.
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
        let tensors = tensors_of(path, reader)?
            .into_iter()
            .filter_map(|mut tensor| {
                tensor.name = tensor.name.strip_prefix(&prefix)?.to_owned();
                Some(tensor)
            })
            .collect();
        Ok(Section { tensors, scalars, strings })
    }

    /// All tensors of the state under the names that they have in the file.
    pub(crate) fn into_tensors(self, path: &Path) -> Result<Vec<Tensor>> {
        tensors_of(path, self.reader.0)
    }
}

/// burn-pack reports a failed read and an invalid header by one type.
fn unreadable_header(path: &Path, error: burn_pack::Error) -> Error {
    if !matches!(error, burn_pack::Error::IoError(_)) {
        return Error::damaged(path, "its header is invalid", Some(PackError::boxed(error)));
    }
    // burn-pack keeps only the text of the system's error. A file that cannot be opened gives the error again.
    match File::open(path) {
        Err(source) => Error::io("open", path)(source),
        Ok(_) => Error::Load {
            path: path.to_path_buf(),
            reason: "its header cannot be read".to_owned(),
            source: Some(PackError::boxed(error)),
        },
    }
}

fn tensors_of(path: &Path, reader: Reader) -> Result<Vec<Tensor>> {
    let invalid =
        |error| Error::damaged(path, "the position of a tensor is invalid", Some(PackError::boxed(error)));
    let mut tensors = reader.into_tensors().map_err(invalid)?;
    // The checkpoint's own entries are not the state's.
    tensors.retain(|tensor| !tensor.name.starts_with(OWN_PREFIX));
    Ok(tensors)
}

/// Compares the lengths that the header states with the file's size. burn-pack's reader does so only after it has
/// allocated memory for them.
fn check_lengths(path: &Path) -> Result<()> {
    // Before the file is opened: opening a pipe waits until a writer opens it too.
    let facts = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if !facts.is_file() {
        let what = if facts.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(Error::not_a_checkpoint(path, what));
    }
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = [0; HEADER_SIZE];
    if let Some(reason) = stand_in_at(path, &facts)? {
        return Err(Error::not_a_checkpoint(path, reason));
    }
    if facts.len() < HEADER_SIZE as u64 {
        return Err(Error::not_a_checkpoint(path, format!("it has only {} bytes", facts.len())));
    }
    if facts.len() > MAX_FILE_SIZE {
        let reason = format!("it has {} bytes, and {MAX_FILE_SIZE} are allowed", facts.len());
        return Err(Error::not_a_checkpoint(path, reason));
    }
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    let Ok(header) = Header::from_bytes(&bytes) else {
        let reason = foreign(&bytes, facts.len());
        return Err(Error::not_a_checkpoint(path, reason.unwrap_or("it does not begin like one".to_owned())));
    };
    let (version, supported) = (u32::from(header.version), u32::from(burn_pack::FORMAT_VERSION));
    check_version(path, "burnpack format", version, supported)?;
    let needed = HEADER_SIZE as u64 + u64::from(header.metadata_size);
    if facts.len() < needed {
        let reason = format!("it has {} bytes, and its header alone needs {needed}", facts.len());
        return Err(Error::damaged(path, reason, None));
    }
    Ok(())
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
