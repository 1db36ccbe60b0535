//! The last line of a log that says how the run ended. It is there where no checkpoint says it: a state that
//! was saved already, or that no strategy saves.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::line::METRICS_FILE;
use super::read::is_metrics_log;
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
/// be no log, or one that ends with half a line. The caller holds the run's lock.
///
/// # Errors
///
/// [`Error::Io`] when the log cannot be read or written.
pub fn append_end(run_dir: &Path, end: &LoggedEnd) -> Result<bool> {
    let path = run_dir.join(METRICS_FILE);
    let Some(line) = end_line(end) else { return Ok(false) };
    let has_whole_lines =
        |file: StoredFile| Ok(is_metrics_log(&file)? && tail_of(&file)?.last() == Some(&b'\n'));
    match StoredFile::open(&path).and_then(has_whole_lines) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            return Ok(false);
        }
        Ok(false) => return Ok(false),
        Ok(true) => {}
        Err(error) => return Err(Error::io("read", &path)(error)),
    }
    let append = || {
        let mut file = StoredFile::open_own(&path, ExistingContent::Append)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    append().map(|()| true).map_err(Error::io("write", &path))
}

/// The last bytes of a file.
fn tail_of(file: &StoredFile) -> io::Result<Vec<u8>> {
    let start = file.stat()?.len().saturating_sub(MAX_END_LINE as u64);
    file.read_range(start, MAX_END_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        for other in ["", "mine\n", "{\"format\":\"burn-ckpt metrics\",\"version\":1}\n{\"step\":7"] {
            fs::write(&path, other).unwrap();
            assert!(!append_end(run.path(), &end).unwrap(), "{other}");
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        fs::write(&path, head).unwrap();
        assert!(append_end(run.path(), &end).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), head.to_owned() + &end_line(&end).unwrap());
        assert_eq!(ended_by_log(run.path(), 7, time).unwrap(), Some(end));
    }
}
