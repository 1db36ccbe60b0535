//! Putting a finished file in its place, so that a name always stands for a whole file.
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
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::{metadata_path, staging_path};

/// A file that is being written beside its destination; removed when dropped before [`Staged::publish`].
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    destination: PathBuf,
    published: bool,
}

impl Staged {
    /// Reserves a staging name for `destination`, whose directory must exist.
    pub(crate) fn beside(destination: &Path) -> Self {
        Self { path: staging_path(destination), destination: destination.to_path_buf(), published: false }
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the staged bytes durable. Must precede [`Staged::publish`].
    pub(crate) fn sync(&self) -> Result<()> {
        // Opened for writing although nothing is written: Windows refuses to flush a read-only handle.
        let file = File::options().write(true).open(&self.path).map_err(Error::io("open", &self.path))?;
        file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Gives the staged file its final name. Atomic: the name stands for the old file or for this one.
    pub(crate) fn publish(mut self, existing: Existing) -> Result<()> {
        if existing == Existing::Keep {
            // A hard link, unlike a rename, never replaces; the guard then removes the staging name.
            match fs::hard_link(&self.path, &self.destination) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("create", &self.destination)(error));
                }
                // A file system without hard links.
                Err(_) => {}
            }
        }
        fs::rename(&self.path, &self.destination).map_err(Error::io("create", &self.destination))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Nothing to report to: the write that failed has its own error, and a leftover is harmless.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a name that stands for something already may be given to another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It may.
    Replace,
    /// It may not: another run may have chosen the name in a directory that both use.
    Keep,
}

/// Writes a file of another kind in the same way: `write` gets a staging file, which has the name `path` once it is whole
/// and durable, or is removed. With [`Existing::Keep`] a file of that name is an error, and stays.
///
/// # Errors
///
/// [`Error::Io`], or what `write` returns.
pub fn write_whole<E: From<Error>>(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    create_directory(parent(path))?;
    let (staged, mut file) = loop {
        let staged = Staged::beside(path);
        match File::create_new(staged.path()) {
            Ok(file) => break (staged, file),
            // Left by a killed process that had our number, as those in containers often have. It is not ours to remove.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::mem::forget(staged),
            Err(error) => return Err(Error::io("create", staged.path())(error).into()),
        }
    };
    write(&mut file)?;
    file.sync_all().map_err(Error::io("sync", staged.path()))?;
    staged.publish(existing)?;
    Ok(sync_directory_of(path)?)
}

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

/// Creates a directory and those above it, and makes that durable.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    let new: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
    new.into_iter().try_for_each(sync_directory_of)
}

/// The directory that a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes renames and removals in a file's directory durable.
pub(crate) fn sync_directory_of(file: &Path) -> Result<()> {
    // Only Unix can sync a directory; elsewhere the rename is as durable as the system makes it.
    #[cfg(unix)]
    {
        let directory = parent(file);
        let handle = File::open(directory).map_err(Error::io("open the directory", directory))?;
        handle.sync_all().map_err(Error::io("sync the directory", directory))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn write_synced(path: &Path, text: &str) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("sync", path))
}

pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
