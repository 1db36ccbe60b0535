//! Writes what a search has found to a file.

use std::io::Write;
use std::path::Path;

use burn_ckpt::plumbing::{Existing, write_whole};

use crate::error::Result;

/// Writes a whole text, or nothing.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_whole(path, Existing::Replace, |file| {
        let written = file.write_all(text.as_bytes());
        written.map_err(burn_ckpt::Error::io("write", file.path()))
    })?)
}
