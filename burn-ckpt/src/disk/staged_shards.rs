//! The directory of a checkpoint's shards (`X.shards` beside `X.ckpt`): staged, given its name in one step,
//! and removed.
//!
//! The directory gets its name before the index does. So an index that a reader finds has all its shards, and
//! shards without an index are those of an unfinished save or removal.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::disk::directories::{entry, list, remove_if_there, sync_directory};
use crate::disk::staged_file::{copy_content, identity, make_at_staging_path, say_left};
use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::file_names::{
    StagingOwner, is_shard, is_shards_directory, is_staging, is_staging_directory, shard_name,
    shards_directory,
};

/// A directory of shards under a staging name. Removed when dropped before [`StagedShards::publish`].
#[derive(Debug)]
pub(crate) struct StagedShards {
    path: PathBuf,
    destination: PathBuf,
    files: Vec<PathBuf>,
    is_renamed: bool,
}

impl StagedShards {
    /// Creates an empty staging directory for the shards of a checkpoint.
    pub(crate) fn create(checkpoint: &Path, owner: &StagingOwner) -> Result<Self> {
        let destination = shards_directory(checkpoint);
        let made = make_at_staging_path(&destination, owner, storage::create_directory);
        let (path, ()) = made.map_err(|(path, error)| Error::io("create the directory", path)(error))?;
        Ok(Self { path, destination, files: Vec::new(), is_renamed: false })
    }

    /// Stages the shards of a checkpoint's second name: hard links, or copies where there can be no hard
    /// links.
    pub(crate) fn link_or_copy(
        committed: &Path,
        count: usize,
        checkpoint: &Path,
        owner: &StagingOwner,
    ) -> Result<Self> {
        let (from, mut staged) = (shards_directory(committed), Self::create(checkpoint, owner)?);
        for number in 1..=count {
            let name = shard_name(number, count);
            let (from, path) = (from.join(&name), staged.add(&name));
            match storage::hard_link(&from, &path) {
                Err(error) if storage::has_no_hard_links(&error) => {
                    copy_shard(&from, create_new(&path)?)?;
                }
                linked => linked.map_err(Error::io("make a hard link at", &path))?,
            }
        }
        Ok(staged)
    }

    /// Stages copies of a checkpoint's shards.
    pub(crate) fn copy(
        committed: &Path,
        count: usize,
        checkpoint: &Path,
        owner: &StagingOwner,
    ) -> Result<Self> {
        let (from, mut staged) = (shards_directory(committed), Self::create(checkpoint, owner)?);
        for number in 1..=count {
            let from = from.join(shard_name(number, count));
            copy_shard(&from, staged.create_file(number, count)?)?;
        }
        Ok(staged)
    }

    /// Creates the next shard, of this number.
    pub(crate) fn create_file(&mut self, number: usize, count: usize) -> Result<StoredFile> {
        create_new(&self.add(&shard_name(number, count)))
    }

    /// Notes a file before it is made: it can be there though its making fails.
    fn add(&mut self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        self.files.push(path.clone());
        path
    }

    /// Where it is until it is published.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its final name, under which there must be nothing. Its files are durable before
    /// that; the caller makes the directory's own name durable.
    pub(crate) fn publish(mut self) -> Result<()> {
        sync_directory(&self.path)?;
        let own = identity(&self.path);
        match storage::rename_new(&self.path, &self.destination) {
            // The answer of a network file system can be lost when the work is done.
            Err(_) if own.is_some() && own == identity(&self.destination) => {}
            renamed => renamed.map_err(in_the_way).map_err(Error::io("create", &self.destination))?,
        }
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for StagedShards {
    fn drop(&mut self) {
        if !self.is_renamed {
            for path in &self.files {
                let _ = storage::remove_file(path);
            }
            // Which also fails where a file could not be removed.
            if let Err(error) = storage::remove_directory(&self.path) {
                say_left(&self.path, &error);
            }
        }
    }
}

/// Checks, before anything is written, that a checkpoint's shards can get their name.
///
/// # Errors
///
/// [`Error::Io`] of the kind "already exists" when there is something of that name.
pub(crate) fn check_free(checkpoint: &Path) -> Result<()> {
    let directory = shards_directory(checkpoint);
    match entry(&directory)? {
        None => Ok(()),
        Some(_) => Err(Error::io("create", &directory)(in_the_way(ErrorKind::AlreadyExists.into()))),
    }
}

fn in_the_way(error: io::Error) -> io::Error {
    if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) {
        return error;
    }
    let text = "a checkpoint of several files does not replace what is there: remove it together with its .ckpt file, or choose \
                another name";
    io::Error::new(ErrorKind::AlreadyExists, text)
}

/// Removes a directory of shards, or a staged one. What is not a shard stays, and the directory with it. A
/// missing directory, and a link or a file in its place, is not an error.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be removed.
pub(crate) fn remove_shards(directory: &Path) -> Result<()> {
    // Of a link the link itself: what is behind it is not the checkpoint's.
    if entry(directory)?.is_none_or(|entry| !entry.is_dir()) {
        return Ok(());
    }
    let (shards, others): (Vec<PathBuf>, Vec<PathBuf>) =
        list(directory)?.into_iter().partition(|path| is_shard(path) || is_staging(path));
    // The first one last: while any is left, they can be told from another run's by what it says.
    shards.iter().rev().try_for_each(|path| remove_if_there(path))?;
    if let Some(other) = others.first() {
        log::warn!("{} stays, as it has {}, which is not a shard", directory.display(), other.display());
        return Ok(());
    }
    storage::remove_directory(directory).map(drop).map_err(Error::io("remove", directory))
}

fn create_new(path: &Path) -> Result<StoredFile> {
    StoredFile::create_new(path).map_err(Error::io("create", path))
}

/// Copies a shard of another name of the checkpoint into a new file.
fn copy_shard(from: &Path, file: StoredFile) -> Result<()> {
    copy_content(StoredFile::open(from).map_err(Error::io("open", from))?, file)
}

/// Removes an unfinished file, or the directory of an unfinished checkpoint's shards. A missing one is not an
/// error.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be removed.
pub fn remove_unfinished(path: &Path) -> Result<()> {
    let is_named = is_staging_directory(path) || is_shards_directory(path);
    if is_named && entry(path)?.is_some_and(|entry| entry.is_dir()) {
        return remove_shards(path);
    }
    remove_if_there(path)
}
