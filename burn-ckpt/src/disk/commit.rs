//! Giving a finished checkpoint and its metadata their names, so that a name always stands for a whole file.
//!
//! Everything is written to a staging file in the destination's directory, synced, and given its name: by a hard link
//! where nothing may be replaced, by a rename elsewhere. What holds after a failure:
//!
//! | it stopped | what is left |
//! |---|---|
//! | while staging | a staging file, removed when the run is opened again; no file under a final name |
//! | after the metadata has its name | a metadata file without checkpoint, which nobody lists; removed when the run is opened again |
//! | after the checkpoint has its name | a whole checkpoint with its metadata |
//!
//! On Unix the same holds after power loss: data is synced before each rename, the directory after both.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::disk::directories::{remove_if_there, sync_directory_of};
use crate::disk::staged_file::{Existing, Staged};
use crate::error::{Error, Result};
use crate::file_names::metadata_path;

/// Publishes a staged checkpoint (already synced) with its metadata.
pub(crate) fn commit(container: Staged, metadata: &str, existing: Existing) -> Result<()> {
    let destination = container.destination.clone();
    let staged_metadata = Staged::beside(&metadata_path(&destination));
    write_synced(staged_metadata.path(), metadata)?;
    // The metadata first, the checkpoint last: whoever sees the checkpoint's name finds its metadata.
    staged_metadata.publish(existing)?;
    container.publish(existing)?;
    sync_directory_of(&destination)
}

/// Gives a committed checkpoint a second name: a hard link, or a copy where the file system has none.
/// `std::fs::copy` shares the blocks where the file system can (`copy_file_range`).
pub(crate) fn stage_again(committed: &Path, destination: &Path) -> Result<Staged> {
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
/// [`Error::Io`] when a file cannot be removed; a missing one is as good as removed.
pub fn remove_checkpoint(checkpoint: &Path) -> Result<()> {
    remove_if_there(checkpoint)?;
    remove_if_there(&metadata_path(checkpoint))
}

fn write_synced(path: &Path, text: &str) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("sync", path))
}
