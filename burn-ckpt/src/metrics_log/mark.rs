//! How much of a log a checkpoint counts: a resumed run continues the log there.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::line::MAX_LINE_BYTES;
use crate::disk::storage::StoredFile;

/// Bytes that are looked at first to find the last line.
const USUAL_LINE: usize = 4096;

/// The end of the lines that a checkpoint counts, as its trainer's state has it.
///
/// The digest is that of the last one of these lines. It has the time at which it was written, so that no
/// other run has the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    /// The length of the log up to there.
    pub bytes: u64,
    /// The digest of the last line, its line break included: 16 hexadecimal digits of its BLAKE3.
    pub last_line: String,
}

impl LogMark {
    /// The mark after a line of this digest.
    #[must_use]
    pub fn new(bytes: u64, digest: u64) -> Self {
        Self { bytes, last_line: format!("{digest:016x}") }
    }

    /// The digest of the last line.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        u64::from_str_radix(&self.last_line, 16)
            .ok()
            .filter(|digest| format!("{digest:016x}") == self.last_line)
    }

    /// Whether a file has the lines up to here. It can have more. A file that is missing has none.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn is_in(&self, path: &Path) -> io::Result<bool> {
        let file = match StoredFile::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.is_in_file(&file)
    }

    /// The same for a file that is open.
    ///
    /// # Errors
    ///
    /// The system's.
    #[doc(hidden)]
    pub fn is_in_file(&self, file: &StoredFile) -> io::Result<bool> {
        if self.bytes == 0 || file.stat()?.len() < self.bytes {
            return Ok(false);
        }
        for window in [USUAL_LINE, MAX_LINE_BYTES + 1] {
            let start = self.bytes.saturating_sub(window as u64);
            let length = usize::try_from(self.bytes - start).unwrap_or(usize::MAX);
            let bytes = file.read_range(start, length)?;
            let Some((b'\n', before)) = bytes.split_last() else { return Ok(false) };
            let line = before.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
            if let Some(line) = line.or((start == 0).then_some(0)) {
                return Ok(self.digest() == Some(line_digest(&bytes[line..])));
            }
        }
        Ok(false)
    }
}

/// The digest of a line, its line break included.
#[must_use]
pub fn line_digest(line: &[u8]) -> u64 {
    let mut digest = [0; 8];
    digest.copy_from_slice(&blake3::hash(line).as_bytes()[..8]);
    u64::from_be_bytes(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::tempdir;

    #[test]
    fn a_mark_is_in_the_files_that_have_its_lines_and_in_no_other() {
        let root = tempdir().unwrap();
        let path = root.path().join("log");
        let long = "x".repeat(USUAL_LINE + 10);
        for last in ["second\n", &format!("{long}\n")] {
            let mark = LogMark::new(6 + last.len() as u64, line_digest(last.as_bytes()));
            let is_in = |text: &str| {
                fs::write(&path, text).unwrap();
                mark.is_in(&path).unwrap()
            };
            assert!(is_in(&format!("first\n{last}")) && is_in(&format!("first\n{last}third\n")));
            // Cut, without the line break, with another line, empty.
            let whole = format!("first\n{last}");
            for other in
                [&whole[..whole.len() - 1], &whole.replace("\nsec", "\nSec").replace("\nxx", "\nXx"), ""]
            {
                assert!(!is_in(other), "{other:.20}");
            }
        }
        let of_one = LogMark::new(6, line_digest(b"first\n"));
        fs::write(&path, "first\n").unwrap();
        assert!(of_one.is_in(&path).unwrap());
        assert!(!of_one.is_in(&root.path().join("missing")).unwrap());
        assert!(!of_one.is_in(root.path()).unwrap(), "a directory");
    }

    #[test]
    fn an_invalid_mark_is_in_no_file() {
        let root = tempdir().unwrap();
        let path = root.path().join("log");
        fs::write(&path, "x".repeat(2 * MAX_LINE_BYTES) + "\n").unwrap();
        for (bytes, last_line) in [
            (0, "0"),
            (5, "zz"),
            (u64::MAX, "0000000000000000"),
            (2 * MAX_LINE_BYTES as u64 + 1, "0000000000000000"),
        ] {
            let mark = LogMark { bytes, last_line: last_line.to_owned() };
            assert!(!mark.is_in(&path).unwrap(), "{mark:?}");
        }
    }
}
