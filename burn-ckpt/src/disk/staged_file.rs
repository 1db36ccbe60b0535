//! A file that is written beside its destination, and gets its final name when it is complete.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::disk::directories::{create_directory, list, parent, sync_directory};
use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, is_staging_of, shards_directory, staging_path};

/// How many staging names are tried. They are random, so that a second one is hardly ever needed.
const ATTEMPTS: usize = 8;

/// A file of its own beside its destination. Removed when dropped before it has its name.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    pub(crate) destination: PathBuf,
    /// Whether it has bytes of its own, which were copied.
    pub(crate) is_copy: bool,
    is_renamed: bool,
}

impl Staged {
    /// Creates an empty staging file for `destination`, whose directory must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot be created.
    pub fn create(destination: &Path, owner: &StagingOwner) -> Result<(Self, StoredFile)> {
        Self::made_by(destination, owner, StoredFile::create_new)
            .map_err(|(path, error)| Error::io("create", path)(error))
    }

    /// Stages a second name of a file: a hard link, or a copy where there can be no hard link.
    pub(crate) fn link_or_copy(committed: &Path, destination: &Path, owner: &StagingOwner) -> Result<Self> {
        match Self::made_by(destination, owner, |path| storage::hard_link(committed, path)) {
            Ok((staged, ())) => Ok(staged),
            Err((_, error)) if storage::has_no_hard_links(&error) => {
                Self::copy(committed, destination, owner)
            }
            Err((path, error)) => Err(Error::io("make a hard link at", path)(error)),
        }
    }

    /// Stages a symbolic link. `None` where there can be none.
    pub(crate) fn symlink(target: &Path, destination: &Path, owner: &StagingOwner) -> Result<Option<Self>> {
        match Self::made_by(destination, owner, |path| storage::symlink(target, path)) {
            Ok((staged, ())) => Ok(Some(staged)),
            Err((_, error)) if storage::has_no_symlinks(&error) => Ok(None),
            Err((path, error)) => Err(Error::io("make a link at", path)(error)),
        }
    }

    /// Stages a copy of a file.
    pub(crate) fn copy(committed: &Path, destination: &Path, owner: &StagingOwner) -> Result<Self> {
        let source = StoredFile::open(committed).map_err(Error::io("open", committed))?;
        let (mut staged, file) = Self::create(destination, owner)?;
        staged.is_copy = true;
        copy_content(source, file)?;
        Ok(staged)
    }

    /// Makes a file at a staging name where there is nothing. So the guard only ever removes what it has made
    /// itself.
    fn made_by<T>(
        destination: &Path,
        owner: &StagingOwner,
        make: impl FnMut(&Path) -> io::Result<T>,
    ) -> std::result::Result<(Self, T), (PathBuf, io::Error)> {
        let (path, made) = make_at_staging_path(destination, owner, make)?;
        let destination = destination.to_path_buf();
        Ok((Self { path, destination, is_copy: false, is_renamed: false }, made))
    }

    /// The same for another destination in that directory, of which the staging name says nothing.
    #[must_use]
    pub fn with_destination(mut self, destination: PathBuf) -> Self {
        self.destination = destination;
        self
    }

    /// Where it is until it is published.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the staged file its final name. Atomic: a reader finds the old file or this one.
    pub(crate) fn publish(mut self, existing: Existing) -> Result<()> {
        self.try_publish(existing)
    }

    /// The same, and after an error it can be tried again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot get that name.
    pub fn try_publish(&mut self, existing: Existing) -> Result<()> {
        let own = identity(&self.path);
        let published = match existing {
            Existing::Replace => match storage::entry(&self.destination) {
                Ok(Some(entry)) if !entry.is_file() && !entry.is_symlink() => Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "what is there is not a regular file: remove it, or move it away",
                )),
                Ok(replaced) => replaced
                    .map_or(Ok(()), |replaced| self.keep_permissions(&replaced))
                    .and_then(|()| self.rename(storage::rename)),
                Err(error) => Err(error),
            },
            // A hard link, unlike a rename, never replaces a file. Dropping `self` then removes the staging
            // name.
            Existing::Keep => match storage::hard_link(&self.path, &self.destination) {
                Err(error) if storage::has_no_hard_links(&error) => self.rename(storage::rename_new),
                linked => linked,
            },
        };
        match published {
            // The answer of a network file system can be lost when the work is done.
            Err(_) if own.is_some() && own == identity(&self.destination) => Ok(()),
            published => published.map_err(Error::io("create", &self.destination)),
        }
    }

    /// A file that replaces another has that one's permissions. New files have those of the process's umask.
    fn keep_permissions(&self, replaced: &Metadata) -> io::Result<()> {
        let own = storage::entry(&self.path)?;
        // A link has none, and those of a file with another name are that one's too.
        let is_alone = |own: &Metadata| own.is_file() && !has_another_name(own);
        match own {
            Some(own)
                if replaced.is_file() && is_alone(&own) && own.permissions() != replaced.permissions() =>
            {
                StoredFile::open(&self.path)?.set_permissions(replaced.permissions())
            }
            _ => Ok(()),
        }
    }

    fn rename(&mut self, rename: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
        rename(&self.path, &self.destination)?;
        // A rename onto another name of the same file does nothing and leaves both.
        self.is_renamed = identity(&self.path).is_none();
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_renamed
            && let Err(error) = storage::remove_file(&self.path)
        {
            say_left(&self.path, &error);
        }
    }
}

/// A write that failed has its own error. What it leaves is named, as it is hidden, and can be large: in a
/// run's directories the next start removes it, and elsewhere nothing does.
pub(crate) fn say_left(path: &Path, error: &io::Error) {
    log::warn!("{} is unfinished, and cannot be removed: {error}; remove it by hand", path.display());
}

/// Makes something at a staging name where there is nothing. Returns its path.
pub(crate) fn make_at_staging_path<T>(
    destination: &Path,
    owner: &StagingOwner,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> std::result::Result<(PathBuf, T), (PathBuf, io::Error)> {
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let path = staging_path(destination, owner);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            // The process that made that file may still need it: the next name is tried.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempts.next().is_some() => {}
            Err(error) => return Err((path, error)),
        }
    }
}

/// The files and directories of writes of a file that are not complete: of a process that was killed, or that
/// writes at the moment.
///
/// # Errors
///
/// [`Error::Io`] when the directory cannot be listed.
pub fn unfinished_writes_of(destination: &Path) -> Result<Vec<PathBuf>> {
    let shards = shards_directory(destination);
    let names = [destination, &shards].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    let mut found = list(parent(destination))?;
    found.retain(|path| is_staging_of(path, |of| names.iter().any(|name| name == of)));
    Ok(found)
}

/// Copies a file's content to a new one, and makes that durable. Both have the size then that the source had
/// before: a checkpoint's files never change.
pub(crate) fn copy_content(mut source: StoredFile, mut file: StoredFile) -> Result<()> {
    let path = file.path().to_path_buf();
    let size_of = |file: &StoredFile| Ok(file.stat().map_err(Error::io("read", file.path()))?.len());
    let size = size_of(&source)?;
    let copied = file.copy_from(&mut source).map_err(Error::io("copy the checkpoint to", &path))?;
    file.sync().map_err(Error::io("sync", &path))?;
    let sizes =
        [(&path, copied), (&path, size_of(&file)?), (&source.path().to_path_buf(), size_of(&source)?)];
    match sizes.into_iter().find(|(_, found)| *found != size) {
        Some((path, found)) => Err(Error::checksum(path, format!("{size} bytes"), format!("{found} bytes"))),
        None => Ok(()),
    }
}

/// Whether a file has more than one name.
#[must_use]
pub fn has_another_name(entry: &Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::nlink(entry) > 1
    }
    #[cfg(not(unix))]
    {
        let _ = entry;
        false
    }
}

/// What tells the file or link at a path from all others.
#[cfg(unix)]
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    storage::entry(path).ok().flatten().map(|entry| (entry.dev(), entry.ino()))
}

/// Unknown on other systems. There a staging name can be left behind by a rename that does nothing.
#[cfg(not(unix))]
pub(crate) fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Whether an existing file of the same name is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced.
    Replace,
    /// It is kept, and the write fails: another run may have chosen the same name in a shared directory.
    Keep,
}

/// Writes a file of another kind in the same way. `write` gets a staging file, which gets the name `path`
/// when it is complete and durable, and is removed on an error. With [`Existing::Keep`] an existing file of
/// that name is an error, and is kept.
///
/// # Errors
///
/// [`Error::Io`], or what `write` returns.
pub fn write_whole<E: From<Error>>(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut StoredFile) -> Result<(), E>,
) -> Result<(), E> {
    create_directory(parent(path))?;
    let (staged, mut file) = Staged::create(path, &StagingOwner::default())?;
    write(&mut file)?;
    file.sync().map_err(Error::io("sync", staged.path()))?;
    staged.publish(existing)?;
    Ok(sync_directory(parent(path))?)
}

#[cfg(test)]
mod tests;
