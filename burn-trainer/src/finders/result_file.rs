//! Writes what a search has found to a file.

use std::io::Write;
use std::path::Path;

use burn_ckpt::plumbing::{Existing, write_whole};

use crate::error::Result;

/// Writes a whole text, or nothing.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_whole(path, Existing::Replace, |file| {
        let path = file.path().to_path_buf();
        let failed = |source| burn_ckpt::Error::Io { action: "write", path, source };
        file.write_all(text.as_bytes()).map_err(failed)
    })?)
}
