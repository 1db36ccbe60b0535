//! A file of whole lines. Lines that cannot be written are kept for a later try. A file that is removed while
//! it is open begins again, and a warning says so. Where another file has taken its name, that one stays.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage::{self, StoredFile};

use super::regular_file;
use crate::process::console::warn;

/// Bytes of unwritten lines that one file keeps. What comes after is lost.
pub(crate) const MAX_UNWRITTEN: usize = 1 << 20;

/// Opens the file for its first lines. Returns how many bytes of it are lines that stay.
pub(crate) type Open = Box<dyn FnMut(&Path) -> io::Result<(StoredFile, u64)> + Send>;

/// A file of lines, opened with the first of them.
pub(crate) struct LineFile {
    path: PathBuf,
    open: Open,
    /// Opens it where it was removed, if that is another beginning.
    again: Option<Open>,
    /// Whether the lines before were removed.
    was_removed: bool,
    /// `None` until it is opened.
    file: Option<StoredFile>,
    /// The bytes of whole lines in it.
    length: u64,
    /// Whether a failed write can have left a part of a line.
    is_torn: bool,
    unwritten: String,
    /// Whether lines are lost.
    has_lost: bool,
}

impl LineFile {
    /// A file that `open` opens with its first lines.
    pub(crate) fn new(path: PathBuf, open: Open) -> Self {
        let unwritten = String::new();
        let (again, was_removed) = (None, false);
        Self {
            path,
            open,
            again,
            was_removed,
            file: None,
            length: 0,
            is_torn: false,
            unwritten,
            has_lost: false,
        }
    }

    /// Has it begin as `open` says where it was removed while it is open.
    pub(crate) fn beginning_again(self, open: Open) -> Self {
        Self { again: Some(open), ..self }
    }

    /// Whether lines that were written were removed since the last call.
    pub(crate) fn take_was_removed(&mut self) -> bool {
        std::mem::take(&mut self.was_removed)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines. After a failure lines are only kept, until [`complete`](Self::complete) succeeds.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        if self.is_incomplete() {
            self.keep(text);
            return Ok(());
        }
        let written = self.write(text.as_bytes());
        if written.is_err() {
            self.keep(text);
        }
        written
    }

    /// Whether lines are missing in the file.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.has_lost || !self.unwritten.is_empty()
    }

    /// Writes the lines that could not be written before.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.unwritten);
        let written = self.write(text.as_bytes());
        if written.is_err() {
            self.unwritten = text;
        }
        written
    }

    /// Removes it, if it was created.
    pub(crate) fn remove(self) -> io::Result<()> {
        // Closed first: some systems do not remove an open file.
        drop(self.file);
        storage::remove_file(&self.path).map(drop)
    }

    /// Writes lines, after those that could not be written before. Those that cannot be written are kept.
    pub(crate) fn write_after_kept(&mut self, text: &str) -> io::Result<()> {
        let completed = self.complete();
        completed.and(self.append(text))
    }

    /// Whether lines are lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Continues with later lines, though there is a gap before them now.
    pub(crate) fn continue_after_gap(&mut self) {
        self.unwritten.clear();
        self.has_lost = false;
    }

    /// Whether it was opened.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// The bytes of the lines that are in it.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Another handle to the open file, to sync it without holding up those that write lines. `None` until it
    /// is opened.
    pub(crate) fn second_handle(&self) -> io::Result<Option<StoredFile>> {
        self.file.as_ref().map(StoredFile::try_clone).transpose()
    }

    /// Gives up the lines that are kept.
    pub(crate) fn forget_lines(&mut self) {
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

    /// Writes all of these bytes, or none: what a failed write leaves is cut off before the next one.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stat = self.file.as_ref().and_then(|file| file.stat().ok());
        if stat.map_or(Ok(false), |stat| regular_file::was_removed(&stat, &self.path))? {
            let (file, length) = self.again.as_mut().unwrap_or(&mut self.open)(&self.path)?;
            (self.file, self.length, self.is_torn, self.was_removed) = (Some(file), length, false, true);
            warn(&regular_file::begins_again(&self.path));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, length) = (self.open)(&self.path)?;
                self.length = length;
                none.insert(file)
            }
        };
        if self.is_torn {
            cut(file, self.length)?;
            self.is_torn = false;
        }
        let written = file.write_all(bytes);
        match &written {
            Ok(()) => self.length += bytes.len() as u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_files::regular_file;
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

    fn opened_late(path: PathBuf) -> LineFile {
        LineFile::new(path, Box::new(|path| Ok((regular_file::create(path)?, 0))))
    }

    #[test]
    fn lines_that_a_full_disk_kept_out_are_written_later_and_in_order() {
        let root = tempdir().unwrap();
        let path = root.path().join("lines.log");
        let disk = Arc::new(FullDisk::default());
        let _observation = observe(root.path(), disk.clone());
        let mut file = opened_late(path.clone());
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

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_removed_while_it_is_open_begins_again() {
        let root = tempdir().unwrap();
        let path = root.path().join("lines.log");
        let begun = |head: &'static str| -> Open {
            Box::new(move |path| {
                let mut file = regular_file::create(path)?;
                file.write_all(head.as_bytes())?;
                Ok((file, head.len() as u64))
            })
        };
        for (again, expected) in [(None, "head\nsecond\n"), (Some(begun("again\n")), "again\nsecond\n")] {
            let mut file = LineFile::new(path.clone(), begun("head\n"));
            file.again = again;
            file.append("first\n").unwrap();
            assert!(!file.take_was_removed());
            fs::remove_file(&path).unwrap();
            file.append("second\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert_eq!((file.length(), file.take_was_removed()), (expected.len() as u64, true));
        }
        // Where its directory is gone too, lines are kept as on a full disk.
        let path = root.path().join("run/lines.log");
        fs::create_dir(root.path().join("run")).unwrap();
        let mut file = LineFile::new(path.clone(), begun("head\n"));
        file.append("first\n").unwrap();
        fs::remove_dir_all(root.path().join("run")).unwrap();
        assert_eq!(file.append("second\n").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(file.is_incomplete());
        fs::create_dir(root.path().join("run")).unwrap();
        file.complete().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "head\nsecond\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_has_taken_its_name_stays_as_it_is() {
        let root = tempdir().unwrap();
        let [path, other] = ["lines.log", "other"].map(|name| root.path().join(name));
        let mut file = opened_late(path.clone());
        file.append("first\n").unwrap();
        // As `sed -i` and rsync do.
        fs::write(&other, "of another\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(file.append("second\n").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(file.complete().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(file.is_incomplete() && !file.take_was_removed());
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another\n");
        // Once that is moved away.
        fs::rename(&path, &other).unwrap();
        file.complete().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of another\n");
    }

    #[test]
    fn what_is_kept_is_limited_and_what_is_written_has_no_gap() {
        let root = tempdir().unwrap();
        fs::write(root.path().join("train"), "in the way").unwrap();
        let path = root.path().join("train/lines.log");
        let mut file = opened_late(path.clone());
        assert_eq!(file.append("first\n").unwrap_err().kind(), ErrorKind::NotADirectory);
        file.append(&"x".repeat(MAX_UNWRITTEN)).unwrap();
        file.append("last\n").unwrap();
        fs::remove_file(root.path().join("train")).unwrap();
        fs::create_dir(root.path().join("train")).unwrap();
        file.complete().unwrap();
        assert!(file.is_incomplete(), "lines are lost");
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }
}
