//! A checkpoint copied to another place: all of its files, byte for byte, and metadata of its own beside it.

use std::path::Path;

use crate::disk::commit::StagedCheckpoint;
use crate::disk::directories::{create_directory, parent};
use crate::disk::staged_file::Existing;
use crate::error::Result;
use crate::file_names::StagingOwner;
use crate::format::metadata::Metadata;
use crate::run_dir::replaced_shards::{check_way, commit_over};
use crate::save::persist::metadata_json;

/// Copies a checkpoint, durably, and not as another name of the same bytes. As for a save, a file under the
/// final name is whole as far as it was written: what the disk made of it is for a verification to say.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) when a file cannot be read or written, or with [`Existing::Keep`] the name
/// exists; [`Error::Metadata`](crate::Error::Metadata) when the checkpoint's metadata is invalid.
pub fn copy_checkpoint(checkpoint: &Path, place: &Path, existing: Existing) -> Result<()> {
    let mut metadata = Metadata::of_checkpoint(checkpoint)?;
    metadata.fill_in_checksum(checkpoint)?;
    if !metadata.shards.is_empty() {
        check_way(place, existing)?;
    }
    create_directory(parent(place))?;
    let owner = StagingOwner::default();
    let staged = StagedCheckpoint::copy(checkpoint, metadata.shards.len(), place, &owner)?;
    let reason = metadata.reason.clone();
    commit_over(staged, &metadata_json(&mut metadata, place, &reason)?, existing, &owner)
}
