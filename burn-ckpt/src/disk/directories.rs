//! Creating directories, making changes in them durable, and what is at a path.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::storage;
use crate::error::{Error, Result};

/// Creates a directory and its missing parents, and makes the names of those that it has created durable.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be created or made durable, or when there is something else of that name.
pub fn create_directory(path: &Path) -> Result<()> {
    let mut created = Vec::new();
    let durable = create_missing(path, &mut created).and_then(|()| {
        created.iter().try_for_each(|directory| sync_if_readable(parent(directory)).map(drop))
    });
    durable.inspect_err(|_| {
        // So that the next attempt does not take them for durable.
        for directory in created.iter().rev() {
            let _ = storage::remove_directory(directory);
        }
    })
}

/// Creates a directory and its missing parents, and makes all names of the path durable, but for those in
/// directories that are in `durable` already: also of directories that exist, as a process that was killed
/// right after it created them may not have done so.
///
/// # Errors
///
/// As for [`create_directory`].
pub(crate) fn create_durable_directory(path: &Path, durable: &mut HashSet<PathBuf>) -> Result<()> {
    let path = std::path::absolute(path).map_err(Error::io("resolve", path))?;
    let mut created = Vec::new();
    let outcome = create_missing(&path, &mut created);
    // A directory has a new name in it, which is not durable: also for the next attempt, if this one fails.
    for new in created {
        durable.remove(parent(new));
    }
    outcome?;
    for directory in path.ancestors().skip(1) {
        if durable.contains(directory) {
            break;
        }
        if !sync_if_readable(directory)? {
            break;
        }
    }
    durable.extend(path.ancestors().skip(1).map(Path::to_path_buf));
    Ok(())
}

/// Makes the names in a directory durable, unless this user cannot list it: then it cannot be opened, and is
/// not one that this program has created. Returns whether it was one to sync.
fn sync_if_readable(directory: &Path) -> Result<bool> {
    match sync_directory(directory) {
        Err(error) if error.kind() == crate::ErrorKind::PermissionDenied => Ok(false),
        synced => synced.map(|()| true),
    }
}

/// Creates a directory and its missing parents, and notes those that it has created, the outermost first.
fn create_missing<'a>(path: &'a Path, created: &mut Vec<&'a Path>) -> Result<()> {
    if is_directory(path)? {
        return Ok(());
    }
    create_missing(parent(path), created)?;
    match storage::create_directory(path) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_directory(path)? => Ok(()),
        // A file, or a link to nothing.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::io("create the directory", path)(ErrorKind::NotADirectory.into()))
        }
        Err(error) => Err(Error::io("create the directory", path)(error)),
        Ok(()) => {
            created.push(path);
            Ok(())
        }
    }
}

/// The directory of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes renames and removals in a directory durable. If the file system cannot do that, says so once and
/// does nothing.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    if !can_be_synced(directory)? && cfg!(unix) && !IS_REPORTED.swap(true, Ordering::Relaxed) {
        log::warn!("{}", cannot_be_synced(directory));
    }
    Ok(())
}

/// Makes renames and removals in a directory durable. Returns whether its file system can do that.
///
/// # Errors
///
/// [`Error::Io`] when it can, and fails.
pub fn can_be_synced(directory: &Path) -> Result<bool> {
    storage::sync_directory(directory).map_err(Error::io("sync the directory", directory))
}

/// What to say of a directory that cannot be synced.
#[must_use]
pub fn cannot_be_synced(directory: &Path) -> String {
    format!(
        "the file system of {} cannot sync a directory: after a power loss the newest checkpoints can be missing (a kill loses \
         nothing)",
        directory.display()
    )
}

/// Whether a directory, or a link to one, is at a path.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be found out.
pub fn is_directory(path: &Path) -> Result<bool> {
    Ok(stat(path)?.is_some_and(|stat| stat.is_dir()))
}

/// Whether a symbolic link is at a path.
///
/// # Errors
///
/// As for [`is_directory`].
pub fn is_symlink(path: &Path) -> Result<bool> {
    Ok(entry(path)?.is_some_and(|entry| entry.is_symlink()))
}

/// Whether there is something at a path, be it a link to nothing.
///
/// # Errors
///
/// As for [`is_directory`].
pub fn is_there(path: &Path) -> Result<bool> {
    Ok(entry(path)?.is_some())
}

/// What is at a path, of a link what it leads to.
///
/// # Errors
///
/// As for [`is_directory`].
pub fn stat(path: &Path) -> Result<Option<std::fs::Metadata>> {
    storage::stat(path).map_err(Error::io("find out what is at", path))
}

/// What is at a path, of a link the link itself.
///
/// # Errors
///
/// As for [`is_directory`].
pub fn entry(path: &Path) -> Result<Option<std::fs::Metadata>> {
    storage::entry(path).map_err(Error::io("find out what is at", path))
}

/// The path without links.
///
/// # Errors
///
/// [`Error::Io`], also where there is nothing.
pub fn real_path(path: &Path) -> Result<PathBuf> {
    real_path_if_there(path)?.ok_or_else(|| Error::io("resolve", path)(storage::not_found()))
}

/// The path without links. `None` if there is nothing.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be found out.
pub fn real_path_if_there(path: &Path) -> Result<Option<PathBuf>> {
    storage::canonicalize(path).map_err(Error::io("resolve", path))
}

/// The entries of a directory, sorted by name. Empty if the directory is missing.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be listed.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(storage::list(directory).map_err(Error::io("list", directory))?.unwrap_or_default())
}

/// The same of a directory that is not to be missing.
///
/// # Errors
///
/// As for [`list`], and where there is no directory.
pub fn list_existing(directory: &Path) -> Result<Vec<PathBuf>> {
    storage::list(directory)
        .and_then(|paths| paths.ok_or_else(storage::not_found))
        .map_err(Error::io("list", directory))
}

/// Removes a file. A missing file is not an error.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    storage::remove_file(path).map(drop).map_err(Error::io("remove", path))
}
