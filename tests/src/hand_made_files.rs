//! Files of any content: a checkpoint of one section, and a file of safetensors with any header.

use std::path::{Path, PathBuf};

use burn_ckpt::{Contents, Metadata, Section};
use jiff::Timestamp;
use serde_json::Value;

/// Saves a section as the model of a checkpoint.
///
/// # Panics
///
/// When it cannot be saved.
#[must_use]
pub fn save_as_model(directory: &Path, name: &str, hparams: &Value, section: Section) -> PathBuf {
    let path = directory.join(name);
    let contents = Contents::new(hparams).unwrap_or_else(|error| panic!("{error}"));
    let contents = contents.with_section(Section::MODEL, section);
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap_or_else(|error| panic!("{error}"));
    path
}

/// Writes a file of safetensors with this header and these bytes.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_safetensors(path: &Path, header: &str, data: &[u8]) {
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
