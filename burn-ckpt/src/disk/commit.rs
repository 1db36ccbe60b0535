//! Giving a finished checkpoint and its metadata their final names, so that a final name always means a whole file.
//!
//! Each file is written to a staging file in the destination's directory, synced, and given its name: by a hard link
//! where no file may be replaced, by a rename elsewhere. What is on disk after a failure:
//!
//! | the process ended | what is on disk |
//! |---|---|
//! | while staging | a staging file; no file under a final name |
//! | after the metadata got its name | a metadata file without a checkpoint, which no reader lists |
//! | after the checkpoint got its name | a whole checkpoint with its metadata |
//!
//! Opening the run again removes staging files and metadata without a checkpoint.
//!
//! On Unix the same is true after power loss: data is synced before each rename, the directory after both renames.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::disk::directories::{remove_if_there, sync_directory_of};
use crate::disk::staged_file::{Existing, Staged};
use crate::error::{Error, Result};
use crate::file_names::metadata_path;

/// Publishes a staged checkpoint (already synced) with its metadata.
pub(crate) fn commit(container: Staged, metadata: &str, existing: Existing) -> Result<()> {
    let destination = container.destination.clone();
    let (staged_metadata, mut file) = Staged::create(&metadata_path(&destination))?;
    file.write_all(metadata.as_bytes()).map_err(Error::io("write", staged_metadata.path()))?;
    file.sync_all().map_err(Error::io("sync", staged_metadata.path()))?;
    // The metadata first, the checkpoint last: a reader that finds the checkpoint finds its metadata.
    staged_metadata.publish(existing)?;
    container.publish(existing)?;
    sync_directory_of(&destination)
}

/// Stages a committed checkpoint under a second name: a hard link, or a copy where the file system has no hard links.
/// `std::fs::copy` shares the blocks where the file system can (`copy_file_range`).
pub(crate) fn stage_link_or_copy(committed: &Path, destination: &Path) -> Result<Staged> {
    let staged = Staged::beside(destination);
    if fs::hard_link(committed, staged.path()).is_err() {
        fs::copy(committed, staged.path()).map_err(Error::io("copy the checkpoint to", staged.path()))?;
        staged.sync()?;
    }
    Ok(staged)
}

/// Removes a checkpoint and its metadata: the checkpoint first, so that it is never seen without its metadata.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be removed. A missing file is not an error.
pub fn remove_checkpoint(checkpoint: &Path) -> Result<()> {
    remove_if_there(checkpoint)?;
    remove_if_there(&metadata_path(checkpoint))
}
