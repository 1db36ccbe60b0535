//! The steps of one save: container, digests, metadata, commit, and the other names of the same state.

use std::path::{Path, PathBuf};

use crate::disk::commit::{commit, stage_again};
use crate::disk::directories::{create_directory, parent, remove_if_there};
use crate::disk::staged_file::{Existing, Staged};
use crate::error::{Error, Result};
use crate::file_names::metadata_path;
use crate::format::contents::Contents;
use crate::format::metadata::Metadata;
use crate::save::read_progress::ReadProgress;
use crate::save::stream_container::write;

impl Contents {
    /// Writes a checkpoint with its metadata, on this thread, for programs that have no training loop. Returns
    /// the file's size in bytes.
    ///
    /// Fields of `metadata` that follow from the file (path, size, digests, tensors, hyperparameters) are
    /// filled in. A checkpoint of that name is replaced; as these are two files, a failure between their renames
    /// leaves the older checkpoint with the newer metadata, which a verification tells.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Container`], [`Error::Snapshot`], or [`Error::Name`] for a section's name.
    pub fn save(self, path: impl AsRef<Path>, mut metadata: Metadata) -> Result<u64> {
        metadata.hparams = self.hparams.clone();
        let reason = std::mem::take(&mut metadata.reason);
        persist(
            self,
            metadata,
            &[(path.as_ref().to_path_buf(), reason)],
            Existing::Replace,
            &ReadProgress::default(),
            |_| (),
        )
    }
}

/// Writes a state once and gives it all its names, each with metadata of its own that states the reason.
///
/// A name that fails does not take the others with it: the state is then written under the next one. `durable` is
/// told of each name as soon as a reader may rely on it. Returns the file's size in bytes, or the first error.
pub(crate) fn persist(
    contents: Contents,
    mut metadata: Metadata,
    places: &[(PathBuf, String)],
    existing: Existing,
    reading: &ReadProgress,
    mut durable: impl FnMut(&Path),
) -> Result<u64> {
    let mut named: Vec<&Path> = Vec::new();
    let mut failure: Option<Error> = None;
    for (place, reason) in places {
        // Two strategies may share a file.
        if named.contains(&place.as_path()) {
            continue;
        }
        let committed = create_directory(parent(place)).and_then(|()| {
            let staged = match named.first() {
                None => stage(contents.clone(), &mut metadata, place, reading)?,
                Some(first) => stage_again(first, place)?,
            };
            commit(staged, &described(&mut metadata, place, reason)?, existing)
        });
        match committed {
            Ok(()) => {
                durable(place);
                named.push(place);
            }
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(metadata.checkpoint_size_bytes), Err)
}

/// Gives a checkpoint another name that a kill kept it from getting, with metadata of its own that states the reason.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Metadata`]; also where the name stands for something already.
pub fn name_again(checkpoint: &Path, place: &Path, reason: &str) -> Result<()> {
    let mut metadata = Metadata::of_checkpoint(checkpoint)?;
    create_directory(parent(place))?;
    let orphan = metadata_path(place);
    if !place.exists() && Metadata::read(&orphan).is_ok_and(|orphan| orphan.run_id == metadata.run_id) {
        // The kill came between the two files; the run's own directories are tidied already, others are not.
        remove_if_there(&orphan)?;
    }
    let staged = stage_again(checkpoint, place)?;
    commit(staged, &described(&mut metadata, place, reason)?, Existing::Keep)
}

/// Writes the container, and fills in what the metadata says of the file.
fn stage(
    contents: Contents,
    metadata: &mut Metadata,
    place: &Path,
    reading: &ReadProgress,
) -> Result<Staged> {
    let staged = Staged::beside(place);
    let written = write(staged.path(), contents, reading)?;
    metadata.tensors = written.tensors;
    metadata.checkpoint_size_bytes = written.size_bytes;
    metadata.checkpoint_checksum = written.checksum;
    Ok(staged)
}

fn described(metadata: &mut Metadata, path: &Path, reason: &str) -> Result<String> {
    metadata.checkpoint_path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    metadata.reason = reason.to_owned();
    metadata.to_json()
}
