//! One writer per run: a lock that a second process is refused by, and that dies with its holder.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::disk::directories::create_directory;
use crate::error::{Error, Result};
use crate::file_names::LOCK_FILE;

/// How much of a lock file is read to name its holder, in bytes.
const MAX_HOLDER_BYTES: u64 = 512;
/// A holder that was killed while it started another program leaves that one with the lock until its own code runs.
const PATIENCE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// The right to write to a run; given up, and its file removed, when dropped.
///
/// The operating system holds the lock for the process, so that a killed one leaves none behind.
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
    /// [`Error::Locked`] with the holder's process id and host when another process, or another lock of this
    /// one, has it for longer than half a second; [`Error::Io`] when the directory or the lock file cannot be made.
    pub fn acquire(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(LOCK_FILE);
        create_directory(run_dir)?;
        let deadline = Instant::now() + PATIENCE;
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
            // The holder before us may have removed the file between our open and our lock; what we locked
            // then is no longer the file that others will find.
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
        // Removed while still held, so that nobody locks a file that is about to vanish. A failure leaves a
        // file without a lock, which blocks nobody.
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
    // An open file cannot be removed there.
    path.exists()
}
