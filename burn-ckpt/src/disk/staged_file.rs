//! A file that is written beside its destination, and gets its name when it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::directories::{create_directory, parent, sync_directory_of};
use crate::error::{Error, Result};
use crate::file_names::staging_path;

/// A file that is being written beside its destination; removed when dropped before [`Staged::publish`].
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    pub(crate) destination: PathBuf,
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
