//! Cleaning a run's directory: removing what a killed process left, and removing a run's checkpoints for a
//! new run.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::disk::commit::remove_checkpoint;
use crate::disk::directories::{entry, is_directory, is_symlink, is_there, list, parent, remove_if_there};
use crate::disk::links;
use crate::disk::staged_shards::remove_unfinished;
use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::file_names::{
    EVALUATION_SUFFIX, METADATA_SUFFIX, checkpoint_of_metadata, checkpoint_of_shards, is_checkpoint,
    is_staging, is_staging_directory, is_staging_of, metadata_path,
};
use crate::format::metadata::Metadata;
use crate::format::shards::claim_of_shards;
use crate::metrics_log::METRICS_FILE;
use crate::run_dir::catalog::{Catalog, file_name, subdirectories};
use crate::run_dir::display_files::report_page::REPORT_FILE;
use crate::run_dir::display_files::tracker_files;
use crate::run_dir::evaluations;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::other_runs::{OwnCheckpoints, RUN_MARKS};
use crate::run_dir::outside_directories::DIRECTORIES_FILE;
use crate::run_dir::tags::{LaterTags, TAGS_FILE};

/// The first bytes of each checkpoint.
const CONTAINER_START: &[u8] = b"NRUB";

/// Cleans a run's directory before the run resumes: removes what unfinished writes and removals left, and
/// links that point to missing files. In the directories outside the run's own, where other runs may be
/// writing, removes this run's leftovers alone. Removes no checkpoint. The caller must hold the run's lock.
///
/// # Errors
///
/// [`Error::Io`] when a directory cannot be listed or a leftover cannot be removed.
pub fn recover(layout: &RunLayout, outside: &[PathBuf]) -> Result<()> {
    for path in unfinished_files(layout, outside)? {
        remove_unfinished(&path)?;
    }
    let directory = layout.checkpoint_dir();
    for path in list(&directory)? {
        if is_checkpoint(&path) && leads_nowhere(&path)? {
            log::warn!("removed the link {}, which points to a missing file", path.display());
            links::remove(&path)?;
        }
    }
    outside.iter().try_for_each(|directory| {
        orphans_outside(layout, directory)?.iter().try_for_each(|path| remove_unfinished(path))
    })
}

/// As [`orphans`] of a directory outside of the run's, where a run of the same id below another root can be
/// in a save: by the rule for checkpoints there.
fn orphans_outside(layout: &RunLayout, directory: &Path) -> Result<Vec<PathBuf>> {
    let found = orphans(directory, layout.run_id(), false)?;
    if found.is_empty() {
        return Ok(found);
    }
    // Only then: it reads the metadata of all checkpoints.
    let (own, mut left) = (OwnCheckpoints::of(layout)?, Vec::new());
    for path in found {
        if is_left_by(&own, directory, &path)? {
            left.push(path);
        }
    }
    Ok(left)
}

/// Whether what is without its checkpoint, and has the run's id, is the run's. Evaluations of an earlier
/// version say no more than the id: they stay.
fn is_left_by(own: &OwnCheckpoints, directory: &Path, path: &Path) -> Result<bool> {
    let Some(checkpoint) = checkpoint_of_shards(path) else {
        if checkpoint_of_metadata(path).is_none() {
            let start = evaluations::owner(path).and_then(|owner| owner.start_timestamp);
            return Ok(start.is_some_and(|start| own.have_start(directory, start)));
        }
        let is_own = |metadata: Metadata| own.have(directory, &metadata);
        return Ok(Metadata::read(path).is_ok_and(is_own));
    };
    let claim = claim_of_shards(path)?;
    let beside = Metadata::read(metadata_path(&checkpoint));
    Ok(match (beside, &claim) {
        (Ok(metadata), None) => own.have(directory, &metadata),
        (Ok(metadata), Some(claim)) if claim.is_of(&metadata) => own.have(directory, &metadata),
        // Before its metadata had its name. A shard of an earlier version says no more than the id.
        (_, Some(claim)) => claim.start_timestamp.is_none_or(|start| own.have_start(directory, start)),
        (Err(_), None) => false,
    })
}

/// The shards and the metadata of the run in a directory that are without their checkpoint. The shards first:
/// while the metadata is there, it says whose they are.
fn orphans(directory: &Path, run_id: &str, is_own: bool) -> Result<Vec<PathBuf>> {
    let (mut found, mut metadata) = (Vec::new(), Vec::new());
    for path in list(directory)? {
        if are_orphans(&path, run_id, is_own)? {
            found.push(path);
        } else if is_orphan(&path, run_id)? {
            metadata.push(path);
        }
    }
    found.append(&mut metadata);
    Ok(found)
}

/// Whether a directory has the shards of a checkpoint of this run that is not there: as one of them says, or
/// the metadata beside them. In the run's own directories also an empty one.
fn are_orphans(directory: &Path, run_id: &str, is_own: bool) -> Result<bool> {
    let Some(checkpoint) = checkpoint_of_shards(directory) else { return Ok(false) };
    if is_there(&checkpoint)? || entry(directory)?.is_none_or(|entry| !entry.is_dir()) {
        return Ok(false);
    }
    match claim_of_shards(directory)? {
        Some(claim) => Ok(claim.run_id == run_id),
        None => Ok(is_own && list(directory)?.is_empty() || is_orphan(&metadata_path(&checkpoint), run_id)?),
    }
}

/// The files that unfinished writes and removals of a run left, or that a process writes at the moment: all
/// staging files in the directories of its checkpoints, its shards and metadata there without a checkpoint,
/// those of the files that it has beside them, and the staging files that have the run's mark in the
/// directories outside of them.
///
/// # Errors
///
/// [`Error::Io`] when a directory cannot be listed.
pub fn unfinished_files(layout: &RunLayout, outside: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let directory = layout.checkpoint_dir();
    let mut found = staged_in(layout.run_dir(), |path| is_staging_of(path, is_beside_checkpoints))?;
    found.extend(staged_in(&directory, is_staging)?);
    for directory in subdirectories(&directory)? {
        found.extend(staged_in(&directory, is_staging)?);
        // Of a checkpoint, which is removed first, or was to be published after them.
        found.extend(orphans(&directory, layout.run_id(), true)?);
    }
    if !outside.is_empty() && is_there(layout.run_dir())? {
        let owner = layout.staging_owner()?;
        for directory in outside {
            found.extend(staged_in(directory, |path| owner.owns(path))?);
        }
    }
    Ok(found)
}

/// What has such a name in a directory, but directories that no write makes.
fn staged_in(directory: &Path, is_such: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list(directory)?.into_iter().filter(|path| is_such(path)) {
        if is_staging_directory(&path) || entry(&path)?.is_none_or(|entry| !entry.is_dir()) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a name is that of a file of a run beside its checkpoints which is written whole. In a run's
/// directory there can be files of users, also unfinished ones.
fn is_beside_checkpoints(name: &str) -> bool {
    [REPORT_FILE, TAGS_FILE, DIRECTORIES_FILE, METRICS_FILE].contains(&name)
        || RUN_MARKS.contains(&name)
        || tracker_files::is_written_whole(name)
}

/// Removes the links to a run's checkpoints, and the files that a catalog lists, valid or not, with their
/// metadata, and the tags that the run was given later. Then removes those of the run's directories that are
/// empty. All other files stay, also one of the name of the tags' file that has something else in it. The
/// caller must hold the run's lock.
///
/// Returns the files that the catalog lists as not valid and that are not checkpoints at all: those of
/// another program, which stay.
///
/// # Errors
///
/// [`Error::Io`] when something cannot be read, listed or removed.
pub fn clear(layout: &RunLayout, catalog: &Catalog) -> Result<Vec<PathBuf>> {
    let mut of_others = Vec::new();
    for (path, _) in &catalog.broken {
        if is_of_another_program(path)? {
            of_others.push(path.clone());
        }
    }
    let directory = layout.checkpoint_dir();
    let has_tags = LaterTags::are_there(layout.run_dir())?;
    // First the links, so that none leads to a removed file if this ends in the middle. In a copy of a run
    // under another name, the files in their place have the run's id of the checkpoints that are removed.
    let mut ids: HashSet<&str> = catalog.entries.iter().map(|entry| entry.metadata.run_id.as_str()).collect();
    ids.insert(layout.run_id());
    let in_place = files_in_place_of_links(layout)?.into_iter();
    let in_place = in_place.filter(|(_, metadata)| ids.contains(metadata.run_id.as_str()));
    for path in symlinks_of_run(layout)?.into_iter().chain(in_place.map(|(path, _)| path)) {
        match is_symlink(&path)? {
            true => remove_if_there(&path)?,
            false => links::remove(&path)?,
        }
    }
    // The newest whole one is the last: after a rename of the directory its id says whose the others are.
    let broken = catalog.broken.iter().map(|(path, _)| path).filter(|path| !of_others.contains(path));
    for path in broken.chain(catalog.entries.iter().map(|entry| &entry.path)) {
        remove_checkpoint(path)?;
    }
    if has_tags {
        remove_if_there(&layout.run_dir().join(TAGS_FILE))?;
    }
    // A directory is listed before those in it. They are removed in reverse order.
    let directories = subdirectories(&directory)?;
    for directory in directories.iter().rev().chain([&directory]) {
        // A link to a directory stays: it says where the run's checkpoints are to be.
        let is_own = entry(directory)?.is_some_and(|entry| entry.is_dir());
        if is_own && list(directory)?.is_empty() {
            storage::remove_directory(directory).map_err(Error::io("remove", directory))?;
        }
    }
    Ok(of_others)
}

/// Whether something with a checkpoint's name is another program's, such as a checkpoint of PyTorch's: no
/// metadata says what it is, and it does not begin as a checkpoint does. One that is empty, or begins with
/// zeros, can be a checkpoint that a loss of power has damaged.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be read.
pub fn is_of_another_program(path: &Path) -> Result<bool> {
    if entry(path)?.is_none_or(|entry| !entry.is_file()) {
        return Ok(true);
    }
    if Metadata::of_checkpoint(path).is_ok() || Metadata::read(metadata_path(path)).is_ok() {
        return Ok(false);
    }
    let file = StoredFile::open(path).map_err(Error::io("open", path))?;
    let begin = file.read_range(0, CONTAINER_START.len()).map_err(Error::io("read", path))?;
    Ok(begin != CONTAINER_START && begin.iter().any(|byte| *byte != 0))
}

/// The links to a run's checkpoints, and the files in place of such links, which [`clear`] removes.
///
/// # Errors
///
/// [`Error::Io`] when something cannot be read or listed.
pub fn links_of_run(layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut found = symlinks_of_run(layout)?;
    let in_place = files_in_place_of_links(layout)?.into_iter();
    found.extend(in_place.filter(|(_, metadata)| metadata.run_id == layout.run_id()).map(|(path, _)| path));
    Ok(found)
}

fn symlinks_of_run(layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list(&layout.checkpoint_dir())? {
        if is_symlink(&path)? && points_into_run(&path, layout.run_id())? {
            found.push(path);
        }
    }
    Ok(found)
}

/// The files that were made in place of strategies' links, as on systems without symbolic links or by a copy
/// in which links are followed, each with what it says: it, or the checkpoint whose metadata it is, has a
/// link's name, and metadata that names another file. Of whichever run they are: a copy of a run under
/// another name has files of the earlier one.
///
/// # Errors
///
/// [`Error::Io`] when something cannot be listed.
pub fn files_in_place_of_links(layout: &RunLayout) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    for path in list(&layout.checkpoint_dir())? {
        let of_metadata = checkpoint_of_metadata(&path);
        let name = file_name(of_metadata.as_deref().unwrap_or(&path));
        let has_a_links_name =
            ["last.ckpt", "on_exception.ckpt"].contains(&name.as_str()) || name.starts_with("best_");
        if !has_a_links_name || !entry(&path)?.is_some_and(|entry| entry.is_file()) {
            continue;
        }
        let metadata = match of_metadata {
            Some(_) => Metadata::read(&path),
            None if is_checkpoint(&path) => Metadata::of_checkpoint(&path),
            None => continue,
        };
        let names_another = |metadata: &Metadata| metadata.checkpoint_path != name;
        found.extend(metadata.ok().filter(names_another).map(|metadata| (path, metadata)));
    }
    Ok(found)
}

/// Whether a path is a relative link, as those of a run are, to a file that was removed. A link to a place
/// that is not there at the moment, such as a disk that is not mounted, may lead somewhere again.
fn leads_nowhere(link: &Path) -> Result<bool> {
    let Some(target) = storage::read_link(link).map_err(Error::io("read the link", link))? else {
        return Ok(false);
    };
    let (is_relative, target) = (target.is_relative(), parent(link).join(target));
    Ok(is_relative && !is_there(&target)? && is_directory(parent(&target))?)
}

/// Whether a symbolic link has the name of a checkpoint or its metadata, and points to a file of this run or
/// to a missing file.
fn points_into_run(link: &Path, run_id: &str) -> Result<bool> {
    let is_metadata = file_name(link).ends_with(METADATA_SUFFIX);
    if !is_metadata && !is_checkpoint(link) {
        return Ok(false);
    }
    let metadata = match is_metadata {
        true => Metadata::read(link),
        false => Metadata::of_checkpoint(link),
    };
    Ok(metadata.is_ok_and(|metadata| metadata.run_id == run_id) || leads_nowhere(link)?)
}

/// Whether a file is metadata, or has evaluations, of a checkpoint of this run that is not there. A
/// checkpoint that is a link to a missing file is there: it can be in an archive that is not mounted at the
/// moment.
fn is_orphan(path: &Path, run_id: &str) -> Result<bool> {
    let without = |suffix| path.to_str().and_then(|path| path.strip_suffix(suffix));
    let (checkpoint, is_metadata) = match (without(METADATA_SUFFIX), without(EVALUATION_SUFFIX)) {
        (Some(checkpoint), _) => (Path::new(checkpoint), true),
        (None, Some(checkpoint)) => (Path::new(checkpoint), false),
        (None, None) => return Ok(false),
    };
    Ok(is_checkpoint(checkpoint)
        && !is_there(checkpoint)?
        && entry(path)?.is_some_and(|entry| entry.is_file())
        && match is_metadata {
            true => Metadata::read(path).is_ok_and(|metadata| metadata.run_id == run_id),
            false => evaluations::owner(path).is_some_and(|owner| owner.run_id == run_id),
        })
}
