//! Reads a log, which another process may be writing.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::line::{FORMAT, HEAD_START, HasMetrics, Head, Line, MAX_LINE_BYTES, METRICS_FILE, VERSION};
use super::mark::LogMark;
use crate::disk::directories::is_directory;
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};

/// Opens the log of a run: `path` is the run's directory or the log itself.
///
/// A last line without a line break is one that is being written, or was when the run was killed. It is left
/// out. A log in which nothing is written yet has no lines.
///
/// ```
/// use burn_ckpt::metrics_log;
///
/// # let run = std::env::temp_dir().join(format!("burn-ckpt-doc-metrics-{}", std::process::id()));
/// # std::fs::create_dir_all(&run).expect("a directory can be made there");
/// # std::fs::write(run.join("metrics.jsonl"), "{\"format\":\"burn-ckpt metrics\",\"version\":1,\"run_id\":\"r1\"}\n\
/// #   {\"step\":1,\"epoch\":0,\"split\":\"train\",\"scope\":\"batch\",\"batch\":1,\"metrics\":{\"train_loss\":0.5}}\n")
/// #   .expect("a file can be written there");
/// // The curve of a run's training loss.
/// let mut curve = Vec::new();
/// for line in metrics_log::read(&run)? {
///     let line = line?;
///     if let Some(loss) = line.metrics.get("train_loss").filter(|_| line.scope == metrics_log::Scope::Batch) {
///         curve.push((line.step, *loss));
///     }
/// }
/// assert_eq!(curve, [(1, 0.5)]);
/// # std::fs::remove_dir_all(&run).expect("the directory was made above");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Io`] when there is no such file or it cannot be read, [`Error::MetricsLog`] when it is something
/// else than a log, [`Error::NewerFormat`] when a newer version of burn-trainer wrote it.
pub fn read(path: impl AsRef<Path>) -> Result<Lines> {
    let mut path = path.as_ref().to_path_buf();
    if is_directory(&path)? {
        path.push(METRICS_FILE);
    }
    let file = StoredFile::open(&path).map_err(Error::io("open", &path))?;
    let mut lines = Lines {
        path,
        file: BufReader::new(file),
        buffer: Vec::new(),
        number: 0,
        position: 0,
        end: u64::MAX,
        run_id: None,
        of_epochs: false,
        has_ended: false,
    };
    lines.read_head()?;
    Ok(lines)
}

/// The lines of a log, in the order in which they were written; [`read`] has an example. An invalid line is
/// an error, and the iterator continues after it. Lines without `metrics`, and keys that this version does
/// not know, are left out.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: BufReader<StoredFile>,
    buffer: Vec<u8>,
    /// Lines read so far.
    number: u64,
    /// Bytes read so far, and those that are read at most.
    position: u64,
    end: u64,
    run_id: Option<String>,
    /// Whether lines of batches are left out.
    of_epochs: bool,
    has_ended: bool,
}

/// What a line of a batch has. The keys of a line are in the order of the format.
const OF_BATCH: &[u8] = b"\"scope\":\"batch\"";
/// Bytes at the beginning of a line that have its scope.
const UNTIL_SCOPE: usize = 120;

impl Lines {
    /// The run that began the log. `None` if nothing is written yet.
    #[must_use]
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// The bytes of the log until the end of the line that was read last.
    #[cfg(feature = "report")]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Only those that a checkpoint counts.
    #[doc(hidden)]
    #[must_use]
    pub fn until(self, mark: &LogMark) -> Self {
        Self { end: mark.bytes, ..self }
    }

    /// Without those of batches, which are most of them and are not parsed then.
    #[doc(hidden)]
    #[must_use]
    pub fn of_epochs(self) -> Self {
        Self { of_epochs: true, ..self }
    }

    fn is_left_out(&self) -> bool {
        let start = &self.buffer[..self.buffer.len().min(UNTIL_SCOPE)];
        self.of_epochs && start.windows(OF_BATCH.len()).any(|part| part == OF_BATCH)
    }

    fn read_head(&mut self) -> Result<()> {
        if !self.next_line()? {
            return Ok(());
        }
        let head: Head = match serde_json::from_slice(&self.buffer) {
            Ok(head) => head,
            Err(error) => return Err(self.invalid("it is not the log of a run's metrics", Some(error))),
        };
        if head.format != FORMAT {
            return Err(self.invalid("it is not the log of a run's metrics", None));
        }
        if head.version > VERSION {
            let (path, found) = (self.path.clone(), head.version);
            return Err(Error::NewerFormat { path, format: "metrics format", found, supported: VERSION });
        }
        self.run_id = Some(head.run_id);
        Ok(())
    }

    /// Reads the next whole line into the buffer. Returns whether there is one.
    fn next_line(&mut self) -> Result<bool> {
        self.buffer.clear();
        let limit = (MAX_LINE_BYTES as u64).min(self.end.saturating_sub(self.position));
        let read = self.file.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        if let Err(error) = read.map_err(Error::io("read", &self.path)) {
            self.has_ended = true;
            return Err(error);
        }
        self.position += self.buffer.len() as u64;
        let is_whole = self.buffer.pop_if(|last| *last == b'\n').is_some();
        self.number += u64::from(is_whole || self.buffer.len() == MAX_LINE_BYTES);
        if !is_whole && self.buffer.len() == MAX_LINE_BYTES {
            self.has_ended = true;
            return Err(self.invalid(&format!("it has more than {MAX_LINE_BYTES} bytes"), None));
        }
        self.has_ended = !is_whole;
        Ok(is_whole)
    }

    fn invalid(&self, reason: &str, source: Option<serde_json::Error>) -> Error {
        Error::MetricsLog { path: self.path.clone(), line: self.number, reason: reason.to_owned(), source }
    }
}

impl Iterator for Lines {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            match self.next_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            if self.is_left_out() {
                continue;
            }
            if serde_json::from_slice(&self.buffer).is_ok_and(|HasMetrics(has_metrics)| !has_metrics) {
                continue;
            }
            let line = serde_json::from_slice(&self.buffer);
            return Some(line.map_err(|error| self.invalid("it is not a line of metrics", Some(error))));
        }
        None
    }
}

/// Whether a file is a log, or can be what a loss of power has left of one: burn-trainer replaces no other.
///
/// # Errors
///
/// The system's.
pub fn is_metrics_log(file: &StoredFile) -> std::io::Result<bool> {
    let start = file.read_range(0, HEAD_START.len())?;
    Ok(HEAD_START.as_bytes().starts_with(&start) || start.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics_log::{Scope, Split, head};
    use std::fs;
    use tempfile::tempdir;

    const BATCH: &str =
        r#"{"step":1,"epoch":0,"split":"train","scope":"batch","batch":1,"metrics":{"train_loss":0.5}}"#;

    fn lines_of(text: &str) -> Result<Vec<Result<Line>>> {
        let root = tempdir().unwrap();
        fs::write(root.path().join(METRICS_FILE), text).unwrap();
        Ok(read(root.path())?.collect())
    }

    fn with_head(text: &str) -> String {
        head("r1", "2026-11-29T02:00:00Z".parse().unwrap()) + text
    }

    #[test]
    fn whole_lines_are_read_and_a_cut_one_is_left_out() {
        for cut in ["", "{\"step\":2,", "\0\0\0\0"] {
            let lines = lines_of(&with_head(&format!("{BATCH}\n{BATCH}\n{cut}"))).unwrap();
            assert_eq!(lines.len(), 2, "{cut:?}");
            let line = lines[0].as_ref().unwrap();
            assert_eq!(
                (line.split, line.scope, line.metrics["train_loss"]),
                (Split::Train, Scope::Batch, 0.5)
            );
        }
        for nothing in ["", "{\"format\":\"burn-"] {
            assert_eq!(lines_of(nothing).unwrap().len(), 0);
        }
    }

    #[test]
    fn what_a_later_version_adds_is_left_out() {
        let later = BATCH.replace("{\"step\"", "{\"device\":3,\"step\"");
        let lines = lines_of(&with_head(&format!("{{\"note\":\"x\"}}\n{later}\n"))).unwrap();
        let [Ok(line)] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line.step, 1);
    }

    #[test]
    fn an_invalid_line_is_named_and_the_next_one_is_read() {
        let wrong = BATCH.replace("0.5", "\"high\"");
        let lines = lines_of(&with_head(&format!("{wrong}\nnonsense\n{BATCH}\n"))).unwrap();
        let [Err(first), Err(second), Ok(_)] = &lines[..] else { panic!("{lines:?}") };
        assert!(matches!(first, Error::MetricsLog { line: 2, .. }), "{first:?}");
        assert!(matches!(second, Error::MetricsLog { line: 3, .. }), "{second:?}");
    }

    #[test]
    fn a_line_that_does_not_end_takes_no_memory() {
        let endless = "x".repeat(MAX_LINE_BYTES + 1);
        let lines = lines_of(&with_head(&format!("{BATCH}\n{endless}\n{BATCH}\n"))).unwrap();
        let [Ok(_), Err(error)] = &lines[..] else { panic!("{lines:?}") };
        assert!(error.to_string().contains("1048576 bytes"), "{error}");
        let error = lines_of(&endless).unwrap_err();
        assert!(matches!(error, Error::MetricsLog { line: 1, .. }), "{error:?}");
    }

    #[test]
    fn other_files_and_newer_versions_are_errors() {
        let root = tempdir().unwrap();
        let error = read(root.path()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        for other in ["{}\n", "step,loss\n", "{\"format\":\"other\",\"version\":1}\n"] {
            let error = lines_of(other).unwrap_err();
            assert!(matches!(error, Error::MetricsLog { line: 1, .. }), "{error:?}");
        }
        let newer = with_head("").replace("\"version\":1", "\"version\":2");
        assert_eq!(lines_of(&newer).unwrap_err().kind(), crate::ErrorKind::NewerFormat);
    }

    #[test]
    fn only_a_log_and_what_is_left_of_one_may_be_replaced() {
        let root = tempdir().unwrap();
        let path = root.path().join("file");
        for (text, expected) in [
            ("", true),
            ("{\"form", true),
            ("\0\0\0", true),
            (&*with_head("x"), true),
            ("mine", false),
            ("{}", false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(is_metrics_log(&StoredFile::open(&path).unwrap()).unwrap(), expected, "{text:?}");
        }
    }
}
