//! A file that is written beside its destination, and gets its final name when it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::directories::{create_directory, parent, sync_directory_of};
use crate::error::{Error, Result};
use crate::file_names::staging_path;

/// A file that is being written beside its destination. Removed when dropped before [`Staged::publish`].
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    pub(crate) destination: PathBuf,
    published: bool,
}

impl Staged {
    /// A staging name for `destination`, whose directory must exist. Creates no file.
    pub(crate) fn beside(destination: &Path) -> Self {
        Self { path: staging_path(destination), destination: destination.to_path_buf(), published: false }
    }

    /// Creates an empty staging file for `destination`, whose directory must exist.
    pub(crate) fn create(destination: &Path) -> Result<(Self, File)> {
        loop {
            let staged = Self::beside(destination);
            match File::create_new(staged.path()) {
                Ok(file) => return Ok((staged, file)),
                // Left by a killed process with the same process id, which is common in containers. The file may belong to
                // another container that is still running, so it is not removed: the next name is tried.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::mem::forget(staged),
                Err(error) => return Err(Error::io("create", staged.path())(error)),
            }
        }
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the staged bytes durable. Must come before [`Staged::publish`].
    pub(crate) fn sync(&self) -> Result<()> {
        // Opened for writing although nothing is written: Windows cannot flush a read-only handle.
        let file = File::options().write(true).open(&self.path).map_err(Error::io("open", &self.path))?;
        file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Gives the staged file its final name. Atomic: a reader finds the old file or this one.
    pub(crate) fn publish(mut self, existing: Existing) -> Result<()> {
        if existing == Existing::Keep {
            // A hard link, unlike a rename, never replaces a file. Dropping `self` then removes the staging name.
            match fs::hard_link(&self.path, &self.destination) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("create", &self.destination)(error));
                }
                // The file system has no hard links.
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
            // Not reported: the write that failed has its own error, and a leftover does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an existing file of the same name is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced.
    Replace,
    /// It is kept, and the write fails: another run may have chosen the same name in a shared directory.
    Keep,
}

/// Writes a file of another kind in the same way. `write` gets a staging file, which gets the name `path` when it is whole and
/// durable, and is removed on an error. With [`Existing::Keep`] an existing file of that name is an error, and is kept.
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
    let (staged, mut file) = Staged::create(path)?;
    write(&mut file)?;
    file.sync_all().map_err(Error::io("sync", staged.path()))?;
    staged.publish(existing)?;
    Ok(sync_directory_of(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_a_killed_process_with_the_same_id_are_kept_and_do_not_fail_a_write() {
        let directory = std::env::temp_dir().join(format!("burn-ckpt-staged-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.ckpt");
        // The names that come next.
        let name = staging_path(&path).to_string_lossy().into_owned();
        let (start, end) = name.rsplit_once('-').unwrap();
        let (number, suffix) = end.split_once('.').unwrap();
        let number: u64 = number.parse().unwrap();
        let leftovers: Vec<String> =
            (1..50).map(|next| format!("{start}-{}.{suffix}", number + next)).collect();
        leftovers.iter().for_each(|leftover| fs::write(leftover, "older").unwrap());

        let written = write_whole(&path, Existing::Keep, |file| {
            io::Write::write_all(file, b"newer").map_err(Error::io("write", "a.ckpt"))
        });
        let content = fs::read_to_string(&path);
        let kept = leftovers.iter().all(|leftover| fs::read_to_string(leftover).unwrap() == "older");
        let exists = write_whole::<Error>(&path, Existing::Keep, |_| Ok(())).unwrap_err();
        fs::remove_dir_all(&directory).unwrap();
        written.unwrap();
        assert_eq!(content.unwrap(), "newer");
        assert!(kept);
        assert_eq!(exists.kind(), crate::ErrorKind::AlreadyExists, "{exists:?}");
    }
}
