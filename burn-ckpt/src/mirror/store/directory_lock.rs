//! Conditional writes in a directory, which has none: under a lock of the file system, which ends with the
//! process that has it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::{ObjectStoreExt, PutMode};

use crate::disk::directories::create_directory;
use crate::disk::storage::{self, ExistingContent, StoredFile};
use crate::error::chain::chain;
use crate::error::kind::ErrorKind;
use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::mirror::store::connection::{Store, Version};

/// The file in a run's directory that is locked while an object of it is compared and replaced.
const LOCK_FILE: &str = ".mirror.lock";
/// How often a lock is tried that another process has, and how long.
const LOCK_POLL: Duration = Duration::from_millis(10);
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Whether an object is the file of a lock.
pub(crate) fn is_directory_lock(key: &str) -> bool {
    key.rsplit('/').next() == Some(LOCK_FILE)
}

impl Store {
    /// Writes a small object in place of the one that was read. `None` if it is another one by now. The lock
    /// is in the directory of the object's run.
    pub(super) fn replace_locked(
        &self,
        run_dir: &Path,
        key: &str,
        bytes: &[u8],
        was: &Version,
    ) -> Result<Option<Version>> {
        let failed = |error: Error| self.lock_failed(key, &error);
        create_directory(run_dir).map_err(failed)?;
        let lock = &run_dir.join(LOCK_FILE);
        let file = StoredFile::open_own(lock, ExistingContent::Keep).map_err(Error::io("open", lock));
        let file = file.map_err(failed)?;
        let begun = Instant::now();
        while !file.try_lock().map_err(Error::io("lock", lock)).map_err(failed)? {
            if begun.elapsed() >= LOCK_WAIT {
                let reason = format!("another process has locked {}", lock.display());
                return Err(self.failure("write", key, MirrorFailure::TimedOut, reason));
            }
            std::thread::sleep(LOCK_POLL);
        }
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        let now = self.run(0, async move { objects.head(&path).await });
        let now = now.map_err(|cause| self.failed("look for", key, &cause))?;
        if now.e_tag != was.0.e_tag {
            return Ok(None);
        }
        self.conditional(key, self.put_with(key, bytes, PutMode::Overwrite))
    }

    /// Removes what a directory has of a run that is removed: the file of the lock, and empty directories.
    pub(crate) fn remove_directory_of_run(&self, run_id: &str) -> Result<()> {
        let Some(directory) = &self.inner.directory else { return Ok(()) };
        let run_dir = directory.join(run_id);
        let lock = run_dir.join(LOCK_FILE);
        storage::remove_file(&lock).map_err(Error::io("remove", &lock))?;
        remove_if_empty(&run_dir)
    }

    /// An error of the lock's file is one of the store, and not of what is sent to it.
    fn lock_failed(&self, key: &str, error: &Error) -> Error {
        let failure = match error.kind() {
            ErrorKind::PermissionDenied => MirrorFailure::Denied,
            _ => MirrorFailure::Failed,
        };
        self.failure("write", key, failure, chain(error))
    }
}

/// Removes a directory that has no files, and so those in it.
fn remove_if_empty(directory: &Path) -> Result<()> {
    for path in storage::list(directory).map_err(Error::io("list", directory))?.unwrap_or_default() {
        if storage::entry(&path).map_err(Error::io("read", &path))?.is_some_and(|entry| entry.is_dir()) {
            remove_if_empty(&path)?;
        }
    }
    let left = storage::list(directory).map_err(Error::io("list", directory))?;
    if left.is_some_and(|left| left.is_empty()) {
        storage::remove_directory(directory).map_err(Error::io("remove", directory))?;
    }
    Ok(())
}
