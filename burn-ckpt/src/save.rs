//! The steps of one save: container, digests, metadata, commit, and the other names of the same state.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commit::{Staged, commit, create_directory, stage_again};
use crate::container::{self, Contents};
use crate::digest::sha256_of_file;
use crate::error::{Error, Result};
use crate::metadata::Metadata;

impl Contents {
    /// Writes a checkpoint with its metadata, on this thread, for programs that have no training loop. Returns
    /// the file's size in bytes.
    ///
    /// Fields of `metadata` that follow from the file (path, size, digests, tensors, hyperparameters) are
    /// filled in. A checkpoint of that name is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Container`] or [`Error::Snapshot`]; the name then stands for what it stood for.
    pub fn save(self, path: impl AsRef<Path>, mut metadata: Metadata) -> Result<u64> {
        metadata.hparams = self.hparams.clone();
        let reason = std::mem::take(&mut metadata.reason);
        persist(self, metadata, &[(path.as_ref().to_path_buf(), reason)], |_| ())
    }
}

/// Writes a state once and gives it all its names, each with metadata of its own that states the reason.
///
/// `durable` is told of each name as soon as a reader may rely on it. Returns the file's size in bytes.
pub(crate) fn persist(
    contents: Contents,
    mut metadata: Metadata,
    places: &[(PathBuf, String)],
    mut durable: impl FnMut(&Path),
) -> Result<u64> {
    let Some(((first, reason), others)) = places.split_first() else { return Ok(0) };
    create_directory(parent(first))?;
    let staged = Staged::beside(first);
    metadata.tensors = container::write(staged.path(), contents)?;
    staged.sync()?;
    metadata.checkpoint_size_bytes =
        fs::metadata(staged.path()).map_err(Error::io("read", staged.path()))?.len();
    metadata.checkpoint_checksum = sha256_of_file(staged.path())?;
    commit(staged, &described(&mut metadata, first, reason)?)?;
    durable(first);

    let mut named = vec![first];
    for (place, reason) in others {
        // Two strategies may share a file.
        if named.contains(&place) {
            continue;
        }
        create_directory(parent(place))?;
        commit(stage_again(first, place)?, &described(&mut metadata, place, reason)?)?;
        durable(place);
        named.push(place);
    }
    Ok(metadata.checkpoint_size_bytes)
}

fn described(metadata: &mut Metadata, path: &Path, reason: &str) -> Result<String> {
    metadata.checkpoint_path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    metadata.reason = reason.to_owned();
    metadata.to_json()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
