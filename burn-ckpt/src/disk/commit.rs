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
//! On Unix the same is true after power loss: data is synced before it gets its name, and the directory between the two names and
//! after them. Without the sync in between, a file system may keep the second name and lose the first.

use std::io::Write;
use std::path::Path;

use crate::disk::directories::{parent, remove_if_there, sync_directory};
use crate::disk::staged_file::{Existing, Staged};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, evaluation_path, metadata_path};

/// Publishes a staged checkpoint (already synced) with its metadata.
///
/// A failed commit of a new name leaves neither: a file that is there, but was not said to be durable, would be counted by
/// nobody and stay for ever.
pub(crate) fn commit(
    container: Staged,
    metadata: &str,
    existing: Existing,
    owner: &StagingOwner,
) -> Result<()> {
    let destination = container.destination.clone();
    let (staged_metadata, mut file) = Staged::create(&metadata_path(&destination), owner)?;
    file.write_all(metadata.as_bytes()).map_err(Error::io("write", staged_metadata.path()))?;
    file.sync().map_err(Error::io("sync", staged_metadata.path()))?;
    // The metadata first, the checkpoint last: a reader that finds the checkpoint finds its metadata.
    staged_metadata.publish(existing)?;
    // Nothing was replaced, so what has these names now is what was given them here.
    let take_back = |remove: fn(&Path) -> Result<()>| {
        if existing == Existing::Keep {
            // The commit's own error is the one to report.
            let _ = remove(&destination);
        }
    };
    sync_directory(parent(&destination))
        .and_then(|()| container.publish(existing))
        .inspect_err(|_| take_back(|path| remove_if_there(&metadata_path(path))))?;
    sync_directory(parent(&destination)).inspect_err(|_| take_back(remove_checkpoint))
}

/// Removes a checkpoint, its evaluations and its metadata. The evaluations first: nobody would know of them without the
/// checkpoint. The metadata last, once the checkpoint is durably removed, so that it is never seen without its metadata. After a
/// loss of power the metadata can be there again, which the next start removes.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be removed. A missing file is not an error.
pub fn remove_checkpoint(checkpoint: &Path) -> Result<()> {
    remove_if_there(&evaluation_path(checkpoint))?;
    if storage::remove_file(checkpoint).map_err(Error::io("remove", checkpoint))? {
        sync_directory(parent(checkpoint))?;
    }
    remove_if_there(&metadata_path(checkpoint))
}
