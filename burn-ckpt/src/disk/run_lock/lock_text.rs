//! What a lock file says: who holds the lock, and what a killed process had left.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::time::SystemTime;

use crate::disk::storage::StoredFile;

/// Upper limit in bytes of what is read of a lock file to name its holder.
pub(super) const MAX_HOLDER_BYTES: u64 = 512;
/// A holder of which nothing is known.
pub(super) const OTHER_PROCESS: &str = "another process";
/// Ends the line in a lock file of a process that does not train: what it leaves says nothing of the run.
const TRAINS_NOTHING: &str = ", trains nothing";

/// The lock file of a process that was killed: its text, and when that process started.
#[derive(Debug)]
pub(super) struct LeftFile {
    pub(super) text: Vec<u8>,
    written: Option<SystemTime>,
}

impl LeftFile {
    /// What is in a file that is locked, but not written yet. `None` for an empty one, which is a new one.
    pub(super) fn of(file: &mut StoredFile) -> io::Result<Option<Self>> {
        let text = of_training(&Self::text_in(file)?);
        let written = file.stat()?.modified().ok();
        Ok((!text.is_empty()).then_some(Self { text, written }))
    }

    pub(super) fn text_in(file: &mut StoredFile) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        file.rewind()?;
        file.take(MAX_HOLDER_BYTES).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Adds who holds the lock now. What the file says of the killed process stays true, if the holder is
    /// killed too.
    pub(super) fn write_with(&self, file: &mut StoredFile, holder: &str) -> io::Result<()> {
        write_holder(file, holder)?;
        self.set_time(file)
    }

    pub(super) fn put_back(&self, file: &mut StoredFile) -> io::Result<()> {
        write_over(file, &self.text)?;
        self.set_time(file)
    }

    fn set_time(&self, file: &StoredFile) -> io::Result<()> {
        self.written.map_or(Ok(()), |written| file.set_modified(written))
    }
}

/// The lines of a lock file but those of processes that do not train.
pub(super) fn of_training(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let is_of_training = |line: &&[u8]| !line.trim_ascii_end().ends_with(TRAINS_NOTHING.as_bytes());
    lines.filter(is_of_training).collect::<Vec<_>>().concat()
}

/// The text of this process. Different for each attempt of each process.
pub(super) fn holder_text(trains_nothing: bool) -> String {
    let host = gethostname::gethostname();
    let random = RandomState::new().hash_one(std::process::id());
    let more = if trains_nothing { TRAINS_NOTHING } else { "" };
    format!("process {} on host {} (lock {random:016x}){more}\n", std::process::id(), host.to_string_lossy())
}

/// Who holds a lock, as far as the file says it: for a message.
pub(super) fn read_holder(file: &mut StoredFile) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HOLDER_BYTES).read_to_string(&mut text));
    // The last line, below that of a process that was killed.
    let text = text.lines().last().unwrap_or_default().split(" (lock ").next().unwrap_or_default();
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    match read {
        Ok(_) if !text.is_empty() => text,
        _ => OTHER_PROCESS.to_owned(),
    }
}

/// Writes the text that says who has locked the file.
pub(super) fn write_holder(file: &mut StoredFile, holder: &str) -> io::Result<()> {
    match write_over(file, holder.as_bytes()) {
        // EBADF or EINVAL: the file was opened for reading alone. It is locked all the same.
        Err(error) if !is_full(&error) => {
            log::debug!("{} cannot be written: {error}", file.path().display());
            Ok(())
        }
        written => written,
    }
}

/// Writes a text in place of what a lock file has. Over it, so that no room is given up which another process
/// takes before the text is written.
fn write_over(file: &mut StoredFile, text: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text)?;
    file.set_length(text.len() as u64)
}

/// Cuts a lock file, whose holder could not be written, to what a killed process had left, or to nothing.
/// Returns what it says then.
pub(super) fn without_holder(file: &mut StoredFile, left: Option<&LeftFile>) -> io::Result<String> {
    let Some(left) = left else { return file.set_length(0).map(|()| String::new()) };
    // What was written of the holder begins with this.
    file.set_length(left.text.len() as u64)?;
    left.set_time(file)?;
    Ok(String::from_utf8_lossy(&left.text).into_owned())
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
