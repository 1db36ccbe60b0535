//! What stands in the way of a checkpoint of several files: the directory of shards that has its name. It
//! cannot be replaced in one step together with the file beside it.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::commit::{StagedCheckpoint, commit, remove_checkpoint};
use crate::disk::directories::is_there;
use crate::disk::staged_file::Existing;
use crate::disk::staged_shards::{check_free, remove_shards};
use crate::error::{Error, Result};
use crate::file_names::{CHECKPOINT_SUFFIX, StagingOwner, metadata_path, shards_directory};
use crate::format::metadata::Metadata;
use crate::run_dir::catalog::{check_sizes, file_name};

/// How the name of a state ends that is being replaced.
const REPLACED: &str = "-replaced";
/// The reason in the metadata beside it. A checkpoint of that name without it is a user's.
const REASON: &str = "replaced by another state of its name";

/// Checks, before anything is written, that a checkpoint of several files can get a name.
///
/// # Errors
///
/// [`Error::Io`] of the kind "already exists" when its shards have none, and are not those of a checkpoint
/// that is replaced; and when that one can get no other name.
pub(crate) fn check_way(place: &Path, existing: Existing) -> Result<()> {
    // Without a file beside them it is not known whose they are.
    if existing == Existing::Keep || !is_there(place)? {
        return check_free(place);
    }
    if is_there(&shards_directory(place))? { check_other_name(&other_name(place)) } else { Ok(()) }
}

/// Fails if a user's checkpoint has the name that a replaced state gets.
fn check_other_name(other: &Path) -> Result<()> {
    if !is_there(other)? || is_replaced(other) {
        return Ok(());
    }
    let text =
        "a state that is replaced gets this name for a moment: move that checkpoint away, or remove it";
    Err(Error::io("create", other)(io::Error::new(io::ErrorKind::AlreadyExists, text)))
}

/// Whether a checkpoint is a state that was replaced.
fn is_replaced(other: &Path) -> bool {
    let beside = Metadata::read(metadata_path(other));
    beside.is_ok_and(|of| of.reason == REASON && of.checkpoint_path == file_name(other))
}

/// As [`commit`], where one of several files replaces another of several.
///
/// # Errors
///
/// As for [`commit`] and [`make_way_for_shards`].
pub(crate) fn commit_over(
    checkpoint: StagedCheckpoint,
    metadata: &str,
    existing: Existing,
    owner: &StagingOwner,
) -> Result<()> {
    let place = checkpoint.container.destination.clone();
    if existing == Existing::Keep || checkpoint.shards.is_none() || !is_there(&shards_directory(&place))? {
        return commit(checkpoint, metadata, existing, owner);
    }
    make_way_for_shards(&place)?;
    commit(checkpoint, metadata, existing, owner)?;
    remove_replaced(&place)
}

/// Frees the name of a checkpoint's shards. A complete state that has it gets another name before: if the
/// process is killed, the run has that state. [`remove_replaced`] removes it.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be read, named, written or removed, and when a user's checkpoint has the
/// other name; [`Error::NewerFormat`] for a state of a newer version, which stays.
pub(crate) fn make_way_for_shards(place: &Path) -> Result<()> {
    let shards = shards_directory(place);
    if !is_there(&shards)? {
        return Ok(());
    }
    let present = Metadata::of_checkpoint(place);
    match present.and_then(|metadata| check_sizes(place, &metadata).map(|()| metadata)) {
        // Those of a download that was killed before it replaced the file beside them.
        Ok(metadata) if metadata.shards.is_empty() => remove_shards(&shards),
        Ok(metadata) => {
            let (other, owner) = (other_name(place), StagingOwner::default());
            check_other_name(&other)?;
            remove_replaced(place)?;
            let staged = StagedCheckpoint::second_name(place, metadata.shards.len(), &other, &owner)?;
            let (checkpoint_path, reason) = (file_name(&other), REASON.to_owned());
            let metadata = Metadata { checkpoint_path, reason, ..metadata };
            commit(staged, &metadata.to_json()?, Existing::Keep, &owner)?;
            remove_checkpoint(place)
        }
        // What cannot be read now may be complete.
        Err(error @ (Error::NewerFormat { .. } | Error::Io { .. })) if !is_missing(&error) => Err(error),
        Err(_) => remove_checkpoint(place),
    }
}

/// Removes the state that was replaced, also that of a download that was killed. A user's checkpoint of that
/// name stays.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be removed.
pub(crate) fn remove_replaced(place: &Path) -> Result<()> {
    let other = other_name(place);
    // Shards alone are those of a download that was killed before it had named the rest.
    if !is_there(&other)? || is_replaced(&other) { remove_checkpoint(&other) } else { Ok(()) }
}

/// A part of the state is not there, as where its removal was killed.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// `X-replaced.ckpt` of `X.ckpt`.
fn other_name(place: &Path) -> PathBuf {
    let name = file_name(place);
    let stem = name.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(&name);
    place.with_file_name(format!("{stem}{REPLACED}{CHECKPOINT_SUFFIX}"))
}
