//! One metric's file in an epoch. Lines that cannot be written are kept for a later try.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::create_directory;
use burn_ckpt::plumbing::storage::{self, StoredFile};

use crate::run_files::regular_file;

/// What a directory's name begins with, before burn's number of the epoch.
pub(super) const EPOCH_PREFIX: &str = "epoch-";
/// Ending of a metric's file.
pub(super) const METRIC_SUFFIX: &str = ".log";
/// The file with the values of each validation of an epoch, a line of JSON each. No metric's file has this ending.
pub(super) const VALIDATIONS: &str = "validations.jsonl";
/// Bytes of unwritten lines that one file keeps. What comes after is lost.
pub(super) const MAX_UNWRITTEN: usize = 1 << 20;

/// A metric's file in an epoch.
pub(super) struct MetricFile {
    pub(super) path: PathBuf,
    pub(super) epoch: usize,
    /// `None` until it is created.
    file: Option<StoredFile>,
    /// The bytes of whole lines in it.
    length: u64,
    /// Whether a failed write can have left a part of a line.
    is_torn: bool,
    unwritten: String,
    /// Whether lines are lost.
    has_lost: bool,
}

impl MetricFile {
    /// A file that is created, or emptied, with its first lines.
    pub(super) fn new(path: PathBuf, epoch: usize) -> Self {
        Self { path, epoch, file: None, length: 0, is_torn: false, unwritten: String::new(), has_lost: false }
    }

    /// Appends whole lines. After a failure lines are only kept, until [`complete`](Self::complete) succeeds.
    pub(super) fn append(&mut self, text: &str) -> io::Result<()> {
        if self.is_incomplete() {
            self.keep(text);
            return Ok(());
        }
        let written = self.write(text);
        if written.is_err() {
            self.keep(text);
        }
        written
    }

    /// Whether lines are missing in the file.
    pub(super) fn is_incomplete(&self) -> bool {
        self.has_lost || !self.unwritten.is_empty()
    }

    /// Writes the lines that could not be written before.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.unwritten);
        let written = self.write(&text);
        if written.is_err() {
            self.unwritten = text;
        }
        written
    }

    /// Removes it, if it was created.
    pub(super) fn remove(self) -> io::Result<()> {
        // Closed first: some systems do not remove an open file.
        drop(self.file);
        storage::remove_file(&self.path).map(drop)
    }

    /// Gives up the lines that are kept.
    pub(super) fn forget_lines(&mut self) {
        self.unwritten.clear();
        self.has_lost = true;
    }

    fn keep(&mut self, text: &str) {
        // After a lost line, later ones would be taken for those that are missing.
        if self.has_lost || self.unwritten.len() + text.len() > MAX_UNWRITTEN {
            self.has_lost = true;
        } else {
            self.unwritten.push_str(text);
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        if self.is_torn {
            cut(file, self.length)?;
            self.is_torn = false;
        }
        let written = file.write_all(text.as_bytes());
        match &written {
            Ok(()) => self.length += text.len() as u64,
            // burn's summary reads these files, and would misread or panic on a part of a line.
            Err(_) => self.is_torn = cut(file, self.length).is_err(),
        }
        written
    }
}

fn cut(file: &mut StoredFile, length: u64) -> io::Result<()> {
    file.set_length(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// Creates `{run}/{split}/epoch-{n}/{name}.log`. A link in the place of a directory is an error: the user's own files can be behind
/// it.
fn create(path: &Path) -> io::Result<StoredFile> {
    let [epoch, split, run] = [1, 2, 3].map(|above| path.ancestors().nth(above).unwrap_or(Path::new("")));
    create_directory(run).map_err(io::Error::other)?;
    regular_file::create_directory(split)?;
    regular_file::create_directory(epoch)?;
    regular_file::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
    use std::fs;
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tempfile::tempdir;

    /// A disk that takes two bytes of each write while it is full.
    #[derive(Default)]
    struct FullDisk(AtomicBool);

    impl Observer for FullDisk {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            match operation {
                Operation::Write { .. } if self.0.load(Ordering::Relaxed) => {
                    Verdict::Part(2, ErrorKind::StorageFull.into())
                }
                _ => Verdict::Proceed,
            }
        }
    }

    #[test]
    fn lines_that_a_full_disk_kept_out_are_written_later_and_in_order() {
        let root = tempdir().unwrap();
        let path = root.path().join("run/train/epoch-1/Loss.log");
        let disk = Arc::new(FullDisk::default());
        let _observation = observe(root.path(), disk.clone());
        let mut file = MetricFile::new(path.clone(), 1);
        file.append("first\n").unwrap();
        disk.0.store(true, Ordering::Relaxed);
        assert_eq!(file.append("second\n").unwrap_err().kind(), ErrorKind::StorageFull);
        file.append("third\n").unwrap();
        assert_eq!(file.complete().unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(file.is_incomplete());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n", "no part of a line");
        disk.0.store(false, Ordering::Relaxed);
        file.complete().unwrap();
        file.append("fourth\n").unwrap();
        assert!(!file.is_incomplete());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\nthird\nfourth\n");
    }

    #[test]
    fn what_is_kept_is_limited_and_what_is_written_has_no_gap() {
        let root = tempdir().unwrap();
        fs::write(root.path().join("train"), "in the way").unwrap();
        let path = root.path().join("train/epoch-1/Loss.log");
        let mut file = MetricFile::new(path.clone(), 1);
        assert_eq!(file.append("first\n").unwrap_err().kind(), ErrorKind::NotADirectory);
        file.append(&"x".repeat(MAX_UNWRITTEN)).unwrap();
        file.append("last\n").unwrap();
        fs::remove_file(root.path().join("train")).unwrap();
        file.complete().unwrap();
        assert!(file.is_incomplete(), "lines are lost");
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }
}
