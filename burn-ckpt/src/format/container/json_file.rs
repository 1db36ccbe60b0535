//! A file of JSON beside checkpoints, read within limits.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::disk::directories::stat;
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::format::container::bounded_json::{JsonError, parse};

/// Reads a file of JSON, of at most so many bytes and values. `None` if there is none. `other_form` is the
/// reason of the error for a file that has something else in it.
///
/// # Errors
///
/// [`Error::Metadata`] when the file is too large, invalid, or not a regular file; [`Error::Io`] when it
/// cannot be read.
pub(crate) fn read_json_file<T: DeserializeOwned>(
    path: &Path,
    (most_bytes, most_values): (u64, usize),
    other_form: &str,
) -> Result<Option<T>> {
    match stat(path)? {
        None => return Ok(None),
        Some(stat) if !stat.is_file() => {
            return Err(Error::metadata(path, "it is not a regular file: remove it", None));
        }
        Some(_) => {}
    }
    let file = StoredFile::open(path).map_err(Error::io("open", path))?;
    let mut text = Vec::new();
    file.take(most_bytes + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
    if text.len() as u64 > most_bytes {
        return Err(Error::metadata(path, format!("it has more than {most_bytes} bytes"), None));
    }
    parse(&text, most_values).map(Some).map_err(|error| match error {
        JsonError::Invalid(error) => Error::metadata(path, other_form, Some(error)),
        error => Error::metadata(path, error.to_string(), None),
    })
}
