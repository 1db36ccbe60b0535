//! One writer per run: a lock that fails for a second process, and that the system releases when its holder
//! ends.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::disk::directories::create_directory;
use crate::disk::staged_file::has_another_name;
use crate::disk::storage::{self, ExistingContent, StoredFile};
use crate::error::{Error, Result};
use crate::file_names::LOCK_FILE;

mod lock_text;

use lock_text::{
    LeftFile, MAX_HOLDER_BYTES, OTHER_PROCESS, holder_text, is_full, of_training, read_holder,
    without_holder, write_holder,
};

/// How long a held lock is tried again. A process that is killed while it starts another program leaves the
/// lock with that program until the program's own code runs.
const RETRY_FOR: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// Whether a run is locked while a process writes to it. A run that another process has locked is an error
/// with every mode but `Off`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LockMode {
    /// A file system without locks is an error.
    Required,
    /// On a file system without locks the run is not locked, which is said.
    #[default]
    IfPossible,
    /// The run is not locked.
    Off,
}

/// The right to write to a run. Dropping it releases the lock and removes its file. A file that a killed
/// process had left is put back as it was, unless [`RunLock::remove_file_at_end`] was called: it says that
/// the run was killed, and a process that has not trained does not change that.
///
/// The operating system holds the lock for the process, so that a killed process leaves no lock.
#[derive(Debug)]
pub struct RunLock {
    /// `None` for a run that is not locked.
    file: Option<StoredFile>,
    path: PathBuf,
    /// What the lock file says.
    holder: String,
    /// What a killed process had left in the file.
    left: Option<LeftFile>,
    /// Why the run is not locked although it should be.
    unsupported: Option<io::Error>,
}

impl RunLock {
    /// Takes the lock of a run, whose directory is created where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] with the holder's process id and host when another process, or another `RunLock` of
    /// this process, holds it for longer than half a second; [`Error::Io`] when the directory or the lock
    /// file cannot be created, or with [`LockMode::Required`] when the file system has no locks.
    pub fn acquire(run_dir: &Path, mode: LockMode) -> Result<Self> {
        Self::take(run_dir, LOCK_FILE, mode, false)
    }

    /// The same, for a process that does not train. If it is killed, the lock file that it leaves does not
    /// say that the run was. On a full disk its lock has an empty file: such a process makes room.
    ///
    /// # Errors
    ///
    /// As for [`RunLock::acquire`].
    pub fn acquire_to_tidy(run_dir: &Path, mode: LockMode) -> Result<Self> {
        Self::take(run_dir, LOCK_FILE, mode, true)
    }

    /// Takes a lock with another file's name, for what more than one process may change in a run's directory.
    /// As for [`RunLock::acquire_to_tidy`], also on a full disk.
    ///
    /// # Errors
    ///
    /// As for [`RunLock::acquire`].
    pub(crate) fn acquire_file(run_dir: &Path, name: &str, mode: LockMode) -> Result<Self> {
        Self::take(run_dir, name, mode, true)
    }

    fn take(run_dir: &Path, name: &str, mode: LockMode, trains_nothing: bool) -> Result<Self> {
        let path = run_dir.join(name);
        create_directory(run_dir)?;
        if mode == LockMode::Off {
            return Ok(Self { file: None, path, holder: String::new(), left: None, unsupported: None });
        }
        let own = holder_text(trains_nothing);
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let mut file = open(&path).map_err(Error::io("open the lock file", &path))?;
            let is_locked = match file.try_lock() {
                Err(error) if mode == LockMode::IfPossible && has_no_locks(&error) => {
                    return Ok(Self { file: None, path, holder: own, left: None, unsupported: Some(error) });
                }
                answer => answer.map_err(Error::io("lock", &path))?,
            };
            if is_locked && is_another_files_name(&file).map_err(Error::io("look at", &path))? {
                // A held lock is locked, and what is locked here is not held: a copy of a run whose files are
                // hard links, or a file that is needed under its other name. It keeps its bytes there.
                storage::remove_file(&path).map_err(Error::io("remove", &path))?;
            } else if is_locked {
                let left = LeftFile::of(&mut file).map_err(Error::io("read the lock file", &path))?;
                let (mut holder, written) = match &left {
                    Some(left) if trains_nothing => {
                        let holder = String::from_utf8_lossy(&left.text).into_owned() + &own;
                        let written = left.write_with(&mut file, &holder);
                        (holder, written)
                    }
                    _ => (own.clone(), write_holder(&mut file, &own)),
                };
                match written {
                    Ok(()) => {}
                    // To remove checkpoints must not need room. The text is for messages of other processes
                    // alone.
                    Err(error) if trains_nothing && is_full(&error) => {
                        holder = without_holder(&mut file, left.as_ref())
                            .map_err(Error::io("write the lock file", &path))?;
                    }
                    Err(error) => {
                        // Without a text it would be the sign of a process that was killed.
                        if left.is_none() {
                            let _unremoved = storage::remove_file(&path);
                        }
                        return Err(Error::io("write the lock file", &path)(error));
                    }
                }
                // The previous holder may have removed the file between our open and our lock. The locked
                // file is then no longer the one that other processes open.
                if is_at_its_path(&file, &holder).map_err(Error::io("read the lock file", &path))? {
                    return Ok(Self { file: Some(file), path, holder, left, unsupported: None });
                }
            }
            if Instant::now() >= deadline {
                let holder = if is_locked { OTHER_PROCESS.to_owned() } else { read_holder(&mut file) };
                return Err(Error::Locked { path: run_dir.to_path_buf(), holder });
            }
            sleep(POLL);
        }
    }

    /// Has the lock file say that its holder started after `newest`, the newest time that the run's files
    /// say. A clock that was set back says otherwise, and then a killed process would not be seen. A file
    /// system that does not take the time keeps its own.
    pub fn started_after(&mut self, newest: Timestamp) {
        let Some(file) = &self.file else { return };
        let said = file.stat().and_then(|stat| stat.modified()).ok().map(Timestamp::try_from);
        if matches!(said, Some(Ok(said)) if said > newest) {
            return;
        }
        // By as much as the next checkpoint is after the newest one, which this process then saves.
        if let Ok(time) = newest.checked_add(SignedDuration::from_nanos(1))
            && let Err(error) = file.set_modified(time.into())
        {
            log::debug!("{} does not take a time: {error}", self.path.display());
        }
    }

    /// Removes the lock's file when it is dropped, also where a killed process had left it: what that process
    /// did is no longer how the run ended.
    pub fn remove_file_at_end(&mut self) {
        self.left = None;
    }

    /// The same, for a lock that is dropped at once.
    #[must_use]
    pub fn with_file_removed(mut self) -> Self {
        self.remove_file_at_end();
        self
    }

    /// Why the run is not locked, if its file system has no locks.
    #[must_use]
    pub fn unsupported(&self) -> Option<&io::Error> {
        self.unsupported.as_ref()
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let Some(mut file) = self.file.take() else { return };
        // Removed while the lock is held, so that no other process locks a file that is about to be removed.
        // A failure leaves a file without a lock, which does not block a later run. A file that is not the
        // locked one is another run's.
        if is_at_its_path(&file, &self.holder).unwrap_or(false) {
            let done = match &self.left {
                Some(left) => left.put_back(&mut file),
                None => storage::remove_file(&self.path).map(drop),
            };
            if let Err(error) = done {
                log::debug!("{} is not as it was: {error}", self.path.display());
            }
        }
    }
}

/// Who holds a run's lock, as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// A process writes to the run: its id and host, as far as the lock file says it.
    Held(String),
    /// No process does, and the last one that trained has removed its lock file when it ended.
    Free,
    /// No process does, and the last one that trained was killed: the system has released its lock, and the
    /// file is left. With the time at which it started, if the file system says it.
    Left(Option<Timestamp>),
}

impl LockState {
    /// Whether the last process that held the lock was killed, and had started after the run's newest
    /// checkpoint was saved. What that checkpoint says of the run's end is of an earlier process then.
    #[must_use]
    pub fn was_killed_since(&self, saved: Timestamp) -> bool {
        matches!(self, Self::Left(Some(started)) if *started > saved)
    }
}

/// Who holds the lock of a run. Changes nothing, and keeps no process from taking the lock: that is tried for
/// longer than this lasts.
///
/// # Errors
///
/// [`Error::Io`] when the lock file cannot be opened, or the file system has no locks.
pub fn lock_state(run_dir: &Path) -> Result<LockState> {
    let path = run_dir.join(LOCK_FILE);
    if storage::stat(&path).map_err(Error::io("find out what is at", &path))?.is_none() {
        return Ok(LockState::Free);
    }
    let mut file = match StoredFile::open(&path) {
        Ok(file) => file,
        // Its holder has ended meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LockState::Free),
        Err(error) => return Err(Error::io("open the lock file", &path)(error)),
    };
    // Shared, so that two readers do not take each other for a writer.
    match file.try_lock_shared().map_err(Error::io("lock", &path))? {
        true => {
            let left = LeftFile::text_in(&mut file).map_err(Error::io("read the lock file", &path))?;
            if !left.is_empty() && of_training(&left).is_empty() {
                return Ok(LockState::Free);
            }
            // The holder writes the file when it starts, and never again.
            let written = file.stat().map_err(Error::io("read the lock file", &path))?.modified();
            Ok(LockState::Left(written.ok().and_then(|time| Timestamp::try_from(time).ok())))
        }
        false => Ok(LockState::Held(read_holder(&mut file))),
    }
}

/// When the lock file of a run was written, which its holder does when it starts: the newest start of a run
/// that trains or was killed. `None` where there is no such file.
#[cfg(feature = "report")]
pub fn newest_start(run_dir: &Path) -> Option<Timestamp> {
    let written = storage::stat(&run_dir.join(LOCK_FILE)).ok()??.modified().ok()?;
    Timestamp::try_from(written).ok()
}

/// What the system answers where there are no locks: ENOLCK, ENOSYS, ENOTSUP, EINVAL. EBADF is the answer of
/// NFS for a file that may be read but not written.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    let no_locks = [rustix::io::Errno::NOLCK, rustix::io::Errno::BADF]
        .iter()
        .any(|no_locks| error.raw_os_error() == Some(no_locks.raw_os_error()));
    #[cfg(not(unix))]
    let no_locks = false;
    no_locks || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// Opens the lock file, which is created where it is missing. One that this user may read but not write can
/// be locked all the same.
fn open(path: &Path) -> io::Result<StoredFile> {
    match StoredFile::open_own(path, ExistingContent::Keep) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            StoredFile::open(path).map_err(|_| error)
        }
        opened => opened,
    }
}

/// Whether an open lock file has another name too.
fn is_another_files_name(file: &StoredFile) -> io::Result<bool> {
    file.stat().map(|stat| has_another_name(&stat))
}

/// Whether an open lock file is the one at its path.
fn is_at_its_path(file: &StoredFile, holder: &str) -> io::Result<bool> {
    let path = file.path();
    let Some(there) = storage::stat(path)? else { return Ok(false) };
    if is_same_file(&file.stat()?, &there) {
        return Ok(true);
    }
    // Some file systems give a path and an open file different numbers. What was written to the open file
    // tells.
    let mut text = String::new();
    StoredFile::open(path)?.take(MAX_HOLDER_BYTES).read_to_string(&mut text)?;
    Ok(text == holder)
}

#[cfg(unix)]
fn is_same_file(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere an open file keeps its name. Windows lets no other handle read one that is locked, so that its
/// text cannot tell.
#[cfg(not(unix))]
fn is_same_file(_a: &std::fs::Metadata, _b: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests;
