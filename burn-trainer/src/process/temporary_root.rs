//! A directory of the system's temporary ones, for a run that leaves nothing.

use std::io;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage;

use crate::error::Result;
use crate::process::console::warn;

/// How many names are tried.
const TRIES: u32 = 100;

/// A directory that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryRoot(PathBuf);

impl TemporaryRoot {
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when the system's directory for temporary files cannot be written to.
    pub(crate) fn create() -> Result<Self> {
        let above = std::env::temp_dir();
        let process = std::process::id();
        let mut tried = 0;
        loop {
            let path = above.join(format!("burn-trainer-fast-dev-run-{process}-{tried}"));
            tried += 1;
            match storage::create_directory(&path) {
                Ok(()) => return Ok(Self(path)),
                // Of an earlier process with this number, which was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < TRIES => {}
                Err(error) => return Err(burn_ckpt::Error::io("create", path)(error).into()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryRoot {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a directory with everything in it, and says so if that fails.
pub(crate) fn remove(directory: &Path) {
    if let Err(error) = remove_all(directory) {
        warn(&format!("{} is not removed: {error}", directory.display()));
    }
}

fn remove_all(directory: &Path) -> io::Result<()> {
    for path in storage::list(directory)?.unwrap_or_default() {
        // Not of a link what it leads to.
        match storage::entry(&path)? {
            Some(stat) if stat.is_dir() => remove_all(&path)?,
            _ => drop(storage::remove_file(&path)?),
        }
    }
    storage::remove_directory(directory).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_it_is_removed_and_nothing_that_a_link_leads_to() {
        let outside = TemporaryRoot::create().unwrap();
        let root = TemporaryRoot::create().unwrap();
        assert_ne!(root.path(), outside.path());
        let path = root.path().to_path_buf();
        storage::create_directory(&path.join("a")).unwrap();
        storage::StoredFile::create_new(&path.join("a/file")).unwrap();
        storage::StoredFile::create_new(&outside.path().join("file")).unwrap();
        #[cfg(unix)]
        storage::symlink(outside.path(), &path.join("link")).unwrap();
        drop(root);
        assert!(storage::entry(&path).unwrap().is_none());
        assert!(storage::entry(&outside.path().join("file")).unwrap().is_some());
    }
}
