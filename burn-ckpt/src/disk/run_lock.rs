//! One writer per run: a lock that fails for a second process, and that the system releases when its holder ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::disk::directories::create_directory;
use crate::error::{Error, Result};
use crate::file_names::LOCK_FILE;

/// Upper limit in bytes of what is read of a lock file to name its holder.
const MAX_HOLDER_BYTES: u64 = 512;
/// How long a held lock is tried again. A process that is killed while it starts another program leaves the lock with that
/// program until the program's own code runs.
const RETRY_FOR: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// The right to write to a run. Dropping it releases the lock and removes its file.
///
/// The operating system holds the lock for the process, so that a killed process leaves no lock.
#[derive(Debug)]
pub struct RunLock {
    file: Option<File>,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock of a run, whose directory is created where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] with the holder's process id and host when another process, or another `RunLock` of this process,
    /// holds it for longer than half a second; [`Error::Io`] when the directory or the lock file cannot be created.
    pub fn acquire(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(LOCK_FILE);
        create_directory(run_dir)?;
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(Error::io("open the lock file", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(POLL);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { path: run_dir.to_path_buf(), holder: holder(&mut file) });
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            // The previous holder may have removed the file between our open and our lock. The locked file is then no longer
            // the one that other processes open.
            if !same_file(&file, &path) {
                continue;
            }
            let host = gethostname::gethostname();
            let holder = format!("process {} on host {}\n", std::process::id(), host.to_string_lossy());
            let written = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
            written.map_err(Error::io("write the lock file", &path))?;
            return Ok(Self { file: Some(file), path });
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while the lock is held, so that no other process locks a file that is about to be removed. A failure leaves
        // a file without a lock, which does not block a later run.
        let _ = fs::remove_file(&self.path);
        drop(self.file.take());
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HOLDER_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_file: &File, path: &Path) -> bool {
    // An open file cannot be removed on this system.
    path.exists()
}
