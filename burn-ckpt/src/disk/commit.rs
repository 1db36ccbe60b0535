//! Giving a finished checkpoint and its metadata their final names, so that a final name always means a whole
//! file.
//!
//! Each file is written to a staging file in the destination's directory, synced, and given its name: by a
//! hard link where no file may be replaced, by a rename elsewhere. What is on disk after a failure:
//!
//! | the process ended | what is on disk |
//! |---|---|
//! | while staging | a staging file; no file under a final name |
//! | after the metadata got its name | a metadata file without a checkpoint, which no reader lists |
//! | after the checkpoint got its name | a complete checkpoint with its metadata |
//!
//! A state in several files has its shards in a directory, which gets its name before the metadata does:
//! after a failure it is there without an index, and no reader looks into it.
//!
//! Opening the run again removes staging files, and metadata and shards without a checkpoint.
//!
//! On Unix the same is true after power loss: data is synced before it gets its name, and the directory
//! between the two names and after them. Without the sync in between, a file system may keep the second name
//! and lose the first.

use std::io::Write;
use std::path::Path;

use crate::disk::directories::{entry, parent, remove_if_there, sync_directory};
use crate::disk::staged_file::{Existing, Staged};
use crate::disk::staged_shards::{StagedShards, remove_shards};
use crate::disk::storage;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, evaluation_path, metadata_path, shards_directory};

/// A checkpoint that is written, and has no name yet: the file, or the index of several.
#[derive(Debug)]
pub(crate) struct StagedCheckpoint {
    pub(crate) container: Staged,
    /// The other files of a state in several.
    pub(crate) shards: Option<StagedShards>,
}

impl StagedCheckpoint {
    /// Stages a second name of a checkpoint with this many shards.
    pub(crate) fn second_name(
        committed: &Path,
        shards: usize,
        place: &Path,
        owner: &StagingOwner,
    ) -> Result<Self> {
        let container = Staged::link_or_copy(committed, place, owner)?;
        let shards = match shards {
            0 => None,
            count => Some(StagedShards::link_or_copy(committed, count, place, owner)?),
        };
        Ok(Self { container, shards })
    }

    /// Stages a copy of a checkpoint with this many shards.
    pub(crate) fn copy(committed: &Path, shards: usize, place: &Path, owner: &StagingOwner) -> Result<Self> {
        let container = Staged::copy(committed, place, owner)?;
        let shards = match shards {
            0 => None,
            count => Some(StagedShards::copy(committed, count, place, owner)?),
        };
        Ok(Self { container, shards })
    }
}

/// Publishes a staged checkpoint (already synced) with its metadata.
///
/// A failed commit of a new name leaves neither: a file that is there, but was not said to be durable, would
/// never be counted nor deleted.
pub(crate) fn commit(
    checkpoint: StagedCheckpoint,
    metadata: &str,
    existing: Existing,
    owner: &StagingOwner,
) -> Result<()> {
    let StagedCheckpoint { container, shards } = checkpoint;
    let destination = container.destination.clone();
    let (staged_metadata, mut file) = Staged::create(&metadata_path(&destination), owner)?;
    file.write_all(metadata.as_bytes()).map_err(Error::io("write", staged_metadata.path()))?;
    file.sync().map_err(Error::io("sync", staged_metadata.path()))?;
    let has_shards = shards.is_some();
    // The shards and the metadata first, the checkpoint last: a reader that finds the checkpoint finds the
    // others.
    shards.map_or(Ok(()), StagedShards::publish)?;
    // The commit's own error is the one to report. Shards never replace others, so those there are were named
    // here.
    let take_back_shards = || {
        if has_shards {
            let _ = remove_shards(&shards_directory(&destination));
        }
    };
    staged_metadata.publish(existing).inspect_err(|_| take_back_shards())?;
    // Nothing was replaced, so what has these names now is what was given them here.
    let take_back = |remove: fn(&Path) -> Result<()>| {
        if existing == Existing::Keep {
            let _ = remove(&destination);
        }
    };
    sync_directory(parent(&destination)).and_then(|()| container.publish(existing)).inspect_err(|_| {
        take_back_shards();
        take_back(|path| remove_if_there(&metadata_path(path)));
    })?;
    sync_directory(parent(&destination)).inspect_err(|_| take_back(remove_written))?;
    if existing == Existing::Replace && !has_shards {
        remove_replaced_shards(&destination);
    }
    Ok(())
}

/// Removes the shards of a checkpoint that was replaced by one without any. No reader looks for them any
/// more.
fn remove_replaced_shards(checkpoint: &Path) {
    if let Err(error) = remove_shards(&shards_directory(checkpoint)) {
        log::warn!("the shards of the replaced checkpoint stay: {}; remove them", chain(&error));
    }
}

/// Removes a checkpoint, its evaluations, its shards and its metadata. The evaluations first: without
/// the checkpoint they would never be found. Then the checkpoint, durably, so that it is never seen without
/// the others. The metadata last: while it is there, the next start knows whose the shards are. After a loss
/// of power the metadata can be there again, which the next start removes.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be removed. A missing file is not an error.
pub fn remove_checkpoint(checkpoint: &Path) -> Result<()> {
    remove_beside(&evaluation_path(checkpoint))?;
    remove_written(checkpoint)
}

/// Removes what a save or a copy writes of a checkpoint, in the order of [`remove_checkpoint`]. A file of
/// evaluations that is beside a new checkpoint was there before it, and stays.
///
/// # Errors
///
/// As for [`remove_checkpoint`].
pub fn remove_written(checkpoint: &Path) -> Result<()> {
    if storage::remove_file(checkpoint).map_err(Error::io("remove", checkpoint))? {
        sync_directory(parent(checkpoint))?;
    }
    remove_shards(&shards_directory(checkpoint))?;
    remove_beside(&metadata_path(checkpoint))
}

/// Removes a file beside a checkpoint. A directory of its name is a user's, and stays: the checkpoint would
/// otherwise never be deleted.
pub(crate) fn remove_beside(path: &Path) -> Result<()> {
    match entry(path)? {
        Some(entry) if entry.is_dir() => Ok(()),
        _ => remove_if_there(path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_checkpoint_is_removed_and_a_directory_with_the_name_of_a_file_beside_it_stays() {
        let root = tempfile::tempdir().unwrap();
        let checkpoint = root.path().join("a.ckpt");
        let beside = [evaluation_path(&checkpoint), metadata_path(&checkpoint)];
        for is_directory in [false, true] {
            fs::write(&checkpoint, "a state").unwrap();
            for path in &beside {
                if is_directory { fs::create_dir(path).unwrap() } else { fs::write(path, "{}").unwrap() }
            }
            remove_checkpoint(&checkpoint).unwrap();
            assert!(!checkpoint.exists());
            assert!(beside.iter().all(|path| path.exists() == is_directory));
        }
    }
}
