//! The last line of a log that says how the run ended. It is there where no checkpoint says it: a state that
//! was saved already, or that no strategy saves.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::line::{MAX_LINE_BYTES, METRICS_FILE};
use super::read::is_metrics_log;
use crate::disk::staged_file::{Existing, has_another_name, write_whole};
use crate::disk::storage::{ExistingContent, StoredFile};
use crate::error::{Error, Result};

/// Upper limit in bytes of such a line, its line break included.
const MAX_END_LINE: usize = 4096;
/// The longest text in it, in characters, of which each can take 6 bytes there.
const MAX_END_CHARS: usize = 500;

/// How a run ended. The line has no `metrics`, so that readers of values leave it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEnd {
    /// `done`, `stopped: ` and the reason, or `exception: ` and the message.
    pub ended: String,
    /// The optimizer steps that were done then.
    pub step: u64,
    /// Why it was done before its last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_because: Option<String>,
    /// When it ended.
    pub time: Timestamp,
    /// The timestamp of the start that ended so. Older lines do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
}

impl LoggedEnd {
    /// The end at a step and a time, with the beginnings of long texts: a panic's message can have any
    /// length.
    #[must_use]
    pub fn new(ended: &str, because: Option<&str>, step: u64, time: Timestamp) -> Self {
        let ended_because = because.map(shortened);
        Self { ended: shortened(ended), step, ended_because, time, start: None }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_END_CHARS) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// The line that says how a run ended, with its line break. `None` for texts that are too long.
#[must_use]
pub fn end_line(end: &LoggedEnd) -> Option<String> {
    let text = serde_json::to_string(end).ok()? + "\n";
    (text.len() <= MAX_END_LINE).then_some(text)
}

/// How the run ended that saved its newest checkpoint at this step and time, as the last line of its log says
/// it. `None` if it does not, or is of an earlier state.
///
/// # Errors
///
/// [`Error::Io`] when the log cannot be read.
pub fn ended_by_log(run_dir: &Path, step: u64, saved: Timestamp) -> Result<Option<LoggedEnd>> {
    let path = run_dir.join(METRICS_FILE);
    let tail = match StoredFile::open(&path).and_then(|file| tail_of(&file)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            return Ok(None);
        }
        tail => tail.map_err(Error::io("read", &path))?,
    };
    let Some((b'\n', lines)) = tail.split_last() else { return Ok(None) };
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = serde_json::from_slice::<LoggedEnd>(&lines[start..]).ok();
    Ok(end.filter(|end| end.step >= step && end.time >= saved))
}

/// Appends how a run ended to its log, so that it is durable. Returns whether the log says it then: there may
/// be no log. Half a line at the log's end, which a kill or a full disk left and no reader reads, is cut. If
/// the line cannot be written, the log is as it was without that. If the log has another name too (a hard
/// link, as `cp -al` makes them), it keeps its bytes under that one. The caller holds the run's lock.
///
/// # Errors
///
/// [`Error::Io`] when the log cannot be read or written.
pub fn append_end(run_dir: &Path, end: &LoggedEnd) -> Result<bool> {
    let path = run_dir.join(METRICS_FILE);
    let Some(line) = end_line(end) else { return Ok(false) };
    let length = match StoredFile::open(&path).and_then(|file| whole_lines(&file)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            return Ok(false);
        }
        length => length.map_err(Error::io("read", &path))?,
    };
    let Some(length) = length else { return Ok(false) };
    let mut file = alone(&path)?;
    let mut append = || {
        if file.stat()?.len() != length {
            file.set_length(length)?;
        }
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Otherwise the next line would be the rest of this one.
            if let Err(unset) = file.set_length(length) {
                log::debug!("{} ends with half a line: {unset}", file.path().display());
            }
            return Err(error);
        }
        file.sync_data()
    };
    append().map(|()| true).map_err(Error::io("write", &path))
}

/// The length of a log's whole lines. `None` if it is not a log, or has none.
fn whole_lines(file: &StoredFile) -> io::Result<Option<u64>> {
    if !is_metrics_log(file)? {
        return Ok(None);
    }
    let (length, mut read) = (file.stat()?.len(), 0);
    while read < length.min(MAX_LINE_BYTES as u64) {
        read = length.min(read + MAX_END_LINE as u64);
        let piece = file.read_range(length - read, MAX_END_LINE)?;
        if let Some(end) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(length - read + end as u64 + 1));
        }
    }
    Ok(None)
}

/// Opens a log to append to it. One that has another name is copied first.
fn alone(path: &Path) -> Result<StoredFile> {
    let open =
        || StoredFile::open_own(path, ExistingContent::Append).map_err(Error::io("open for writing", path));
    let mut file = open()?;
    if !has_another_name(&file.stat().map_err(Error::io("read", path))?) {
        return Ok(file);
    }
    write_whole(path, Existing::Replace, |copy: &mut StoredFile| -> Result<()> {
        copy.copy_from(&mut file).map(drop).map_err(Error::io("copy", path))
    })?;
    open()
}

/// The last bytes of a file.
fn tail_of(file: &StoredFile) -> io::Result<Vec<u8>> {
    let start = file.stat()?.len().saturating_sub(MAX_END_LINE as u64);
    file.read_range(start, MAX_END_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};
    use std::fs;
    use std::sync::Arc;

    #[test]
    fn the_last_line_says_how_the_state_of_its_step_ended() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(METRICS_FILE);
        let times = ["2026-11-29T02:00:00Z", "2026-11-29T02:00:01Z"].map(|time| time.parse().unwrap());
        let [saved, ended]: [Timestamp; 2] = times;
        let of = |text: &str, step, saved| {
            fs::write(&path, text).unwrap();
            ended_by_log(run.path(), step, saved).unwrap()
        };
        let end = |ended: &str, time| LoggedEnd::new(ended, None, 7, time);
        let line = end_line(&end("stopped: SIGTERM", ended)).unwrap();
        let lines = "{\"step\":7,\"metrics\":{}}\n".repeat(1000);
        let said = Some(end("stopped: SIGTERM", ended));
        assert_eq!(of(&(lines.clone() + &line), 7, saved), said);
        assert_eq!(of(&line, 7, ended), said);
        // No strategy has saved its last state.
        assert_eq!(of(&line, 6, saved), said);
        let done = LoggedEnd { ended_because: Some("max_steps".to_owned()), ..end("done", ended) };
        assert_eq!(of(&end_line(&done).unwrap(), 7, saved), Some(done));
        // Before the checkpoint's step, before its save, not the last line, half a line, no line, no file.
        assert_eq!(of(&line, 8, saved), None);
        assert_eq!(of(&end_line(&end("stopped: x", saved)).unwrap(), 7, ended), None);
        assert_eq!(of(&(line.clone() + &lines), 7, saved), None);
        assert_eq!(of(&line[..line.len() - 1], 7, saved), None);
        assert_eq!(of("", 7, saved), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(ended_by_log(run.path(), 7, saved).unwrap(), None);
        let long = LoggedEnd { ended: "x".repeat(MAX_END_LINE), ..end("", ended) };
        assert_eq!(end_line(&long), None);
    }

    #[test]
    fn an_end_is_appended_to_whole_lines_of_a_log_and_to_nothing_else() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(METRICS_FILE);
        let time: Timestamp = "2026-11-29T02:00:00Z".parse().unwrap();
        let end = LoggedEnd::new("done", Some("max_steps"), 7, time);
        assert!(!append_end(run.path(), &end).unwrap());
        let head = "{\"format\":\"burn-ckpt metrics\",\"version\":1}\n";
        for other in ["", "mine\n", "{\"format\":\"burn-ckpt metrics\",\"version\":1}"] {
            fs::write(&path, other).unwrap();
            assert!(!append_end(run.path(), &end).unwrap(), "{other}");
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        fs::write(&path, head).unwrap();
        assert!(append_end(run.path(), &end).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), head.to_owned() + &end_line(&end).unwrap());
        assert_eq!(ended_by_log(run.path(), 7, time).unwrap(), Some(end));
    }
    const HEAD: &str = "{\"format\":\"burn-ckpt metrics\",\"version\":1}\n";

    #[test]
    fn half_a_line_at_the_end_of_a_log_is_cut_however_long_it_is() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(METRICS_FILE);
        let end = LoggedEnd::new("done", None, 7, Timestamp::UNIX_EPOCH);
        let whole = HEAD.to_owned() + &"{\"step\":7,\"metrics\":{}}\n".repeat(300);
        for half in ["{", &"1".repeat(MAX_END_LINE), &"1".repeat(3 * MAX_END_LINE + 1)] {
            fs::write(&path, whole.clone() + half).unwrap();
            assert!(append_end(run.path(), &end).unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), whole.clone() + &end_line(&end).unwrap());
        }
    }

    /// A disk that has room for a part of a line.
    struct Full;

    impl Observer for Full {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            match operation {
                Operation::Write { .. } => Verdict::Part(10, ErrorKind::StorageFull.into()),
                _ => Verdict::Proceed,
            }
        }
    }

    #[test]
    fn an_end_that_a_full_disk_does_not_take_leaves_the_log_as_it_was_and_comes_with_the_next_try() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join(METRICS_FILE);
        fs::write(&path, HEAD).unwrap();
        let end = LoggedEnd::new("done", None, 7, Timestamp::UNIX_EPOCH);
        let observation = observe(run.path(), Arc::new(Full));
        assert_eq!(append_end(run.path(), &end).unwrap_err().kind(), crate::ErrorKind::DiskFull);
        drop(observation);
        assert_eq!(fs::read_to_string(&path).unwrap(), HEAD);
        assert!(append_end(run.path(), &end).unwrap());
        assert_eq!(ended_by_log(run.path(), 7, end.time).unwrap(), Some(end));
    }

    #[cfg(unix)]
    #[test]
    fn the_log_of_a_copy_that_shares_its_files_does_not_change_the_original() {
        let (run, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [original, copied] = [&run, &copy].map(|run| run.path().join(METRICS_FILE));
        fs::write(&original, HEAD).unwrap();
        fs::hard_link(&original, &copied).unwrap();
        let end = LoggedEnd::new("done", None, 7, Timestamp::UNIX_EPOCH);
        assert!(append_end(copy.path(), &end).unwrap());
        assert_eq!(fs::read_to_string(&original).unwrap(), HEAD);
        assert_eq!(fs::read_to_string(&copied).unwrap(), HEAD.to_owned() + &end_line(&end).unwrap());
        assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 1);
    }
}
