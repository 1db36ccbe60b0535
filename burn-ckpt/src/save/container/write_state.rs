//! Writing the planned files of a state under staging names: the shards first, then the file that has their
//! digests.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::commit::StagedCheckpoint;
use crate::disk::directories::is_there;
use crate::disk::staged_file::Staged;
use crate::disk::staged_shards::{StagedShards, check_free, remove_shards};
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, shards_directory};
use crate::format::header::ContainerHeader;
use crate::format::metadata::embedded::WrittenTensor;
use crate::format::metadata::of_checkpoint::own_of_version_2;
use crate::format::metadata::{Metadata, ShardInfo};
use crate::format::shards::Shards;
use crate::save::container::plan_file::PlannedFile;
use crate::save::container::plan_state::PlannedState;
use crate::save::container::stream_container::write;
use crate::save::read_progress::ReadProgress;
use crate::save::urgency::Pace;

/// Writes a planned state beside `place`, and fills in the metadata that follows from its files. The space of
/// all files is reserved before a tensor is read.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be written, or something is in the place of the shards;
/// [`Error::Container`] when a tensor cannot be read.
pub(crate) fn write_state(
    planned: PlannedState,
    metadata: &mut Metadata,
    place: &Path,
    owner: &StagingOwner,
    reading: &ReadProgress,
    pace: &Arc<Pace>,
) -> Result<StagedCheckpoint> {
    let PlannedState { shards: planned_shards, file: mut planned } = planned;
    if !planned_shards.is_empty() {
        remove_rest(place)?;
        check_free(place)?;
    }
    let (container, file) = Staged::create(place, owner)?;
    reserve(&file, &planned)?;
    let size = planned_shards.iter().fold(planned.size, |all, shard| all.saturating_add(shard.size));
    let patience = pace.end_of_patience(size);
    let (mut shards, mut before) = (None, Vec::new());
    metadata.shards.clear();
    if !planned_shards.is_empty() {
        let (staged, infos) =
            write_shards(planned_shards, &mut before, place, owner, reading, pace, patience)?;
        if let Some(ending) = &mut planned.ending {
            ending.set_shards(infos.clone());
        }
        (shards, metadata.shards) = (Some(staged), infos);
    }
    let written = write(file, planned, before, reading, pace, patience)?;
    metadata.tensors = written.tensors;
    metadata.non_finite = written.non_finite;
    metadata.checkpoint_size_bytes = written.size_bytes;
    metadata.checkpoint_checksum = written.checksum;
    let staged = StagedCheckpoint { container, shards };
    read_back(&staged, &metadata.shards)?;
    Ok(staged)
}

/// Reads headers and metadata back, so that nothing is called durable that nothing can open. Reads no tensor.
///
/// # Errors
///
/// [`Error::ReadBack`] for what is not a checkpoint, [`Error::Io`] when a file cannot be read.
pub(crate) fn read_back(staged: &StagedCheckpoint, shards: &[ShardInfo]) -> Result<()> {
    check_readable(staged, shards).map_err(|error| match error {
        // The file could not be read: that says nothing of what is in it.
        error @ Error::Io { .. } => error,
        error => Error::ReadBack { path: staged.container.destination.clone(), source: Box::new(error) },
    })
}

/// Removes shards beside a checkpoint of one file: the rest of a replacement that was interrupted. No reader
/// looks for them.
fn remove_rest(place: &Path) -> Result<()> {
    let directory = shards_directory(place);
    let is_rest = is_there(&directory)?
        && is_there(place)?
        && Metadata::of_checkpoint(place).is_ok_and(|metadata| metadata.shards.is_empty());
    if is_rest { remove_shards(&directory) } else { Ok(()) }
}

/// Writes the shards, and adds what is known of their tensors.
fn write_shards(
    planned: Vec<PlannedFile>,
    tensors: &mut Vec<WrittenTensor>,
    place: &Path,
    owner: &StagingOwner,
    reading: &ReadProgress,
    pace: &Arc<Pace>,
    patience: Instant,
) -> Result<(StagedShards, Vec<ShardInfo>)> {
    let (mut staged, count) = (StagedShards::create(place, owner)?, planned.len());
    let mut files = Vec::with_capacity(count);
    for (number, planned) in (1..).zip(&planned) {
        let file = staged.create_file(number, count)?;
        reserve(&file, planned)?;
        files.push(file);
    }
    let mut infos = Vec::with_capacity(count);
    for (file, planned) in files.into_iter().zip(planned) {
        let written = write(file, planned, Vec::new(), reading, pace, patience)?;
        tensors.extend(written.parts);
        infos.push(ShardInfo {
            size_bytes: written.size_bytes,
            checksum: written.checksum,
            header_blake3: written.header_blake3,
        });
    }
    Ok((staged, infos))
}

fn reserve(file: &StoredFile, planned: &PlannedFile) -> Result<()> {
    file.reserve(planned.size).map_err(Error::io("reserve the space for", file.path()))
}

fn check_readable(staged: &StagedCheckpoint, shards: &[ShardInfo]) -> Result<()> {
    let path = staged.container.path();
    let header = ContainerHeader::read(path)?;
    own_of_version_2(header.file())?.checked_header(header.file())?;
    match &staged.shards {
        None => Ok(()),
        Some(staged) => Shards::open_in(staged.path(), path, header.shards, shards).map(drop),
    }
}
