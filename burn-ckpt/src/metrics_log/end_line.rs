//! The last line of a log that says how the run ended. It is there where the run's newest checkpoint does not
//! say it: a stop that fell on a state which was saved already.

use std::io::{self, ErrorKind};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::line::METRICS_FILE;
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};

/// Upper limit in bytes of such a line, its line break included.
const MAX_END_LINE: usize = 4096;

/// It has no `metrics`, so that readers of values leave it out.
#[derive(Debug, Serialize, Deserialize)]
struct EndLine {
    ended: String,
    step: u64,
    time: Timestamp,
}

/// The line that says how a run ended after a step, with its line break. `None` for a text that is too long.
#[must_use]
pub fn end_line(ended: &str, step: u64, time: Timestamp) -> Option<String> {
    let line = EndLine { ended: ended.to_owned(), step, time };
    let text = serde_json::to_string(&line).ok()? + "\n";
    (text.len() <= MAX_END_LINE).then_some(text)
}

/// How the run ended that saved its newest checkpoint at this step and time, as the last line of its log says
/// it. `None` if it does not, or is of another state.
///
/// # Errors
///
/// [`Error::Io`] when the log cannot be read.
pub fn ended_by_log(run_dir: &Path, step: u64, saved: Timestamp) -> Result<Option<String>> {
    let path = run_dir.join(METRICS_FILE);
    let tail = match StoredFile::open(&path).and_then(|file| tail_of(&file)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            return Ok(None);
        }
        tail => tail.map_err(Error::io("read", &path))?,
    };
    let Some((b'\n', lines)) = tail.split_last() else { return Ok(None) };
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = serde_json::from_slice::<EndLine>(&lines[start..]).ok();
    Ok(line.filter(|line| line.step == step && line.time >= saved).map(|line| line.ended))
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
        let line = end_line("stopped: SIGTERM", 7, ended).unwrap();
        let lines = "{\"step\":7,\"metrics\":{}}\n".repeat(1000);
        let said = Some("stopped: SIGTERM".to_owned());
        assert_eq!(of(&(lines.clone() + &line), 7, saved), said);
        assert_eq!(of(&line, 7, ended), said);
        // Of another step, before the save, not the last line, half a line, no line, no file.
        assert_eq!(of(&line, 8, saved), None);
        assert_eq!(of(&end_line("stopped: x", 7, saved).unwrap(), 7, ended), None);
        assert_eq!(of(&(line.clone() + &lines), 7, saved), None);
        assert_eq!(of(&line[..line.len() - 1], 7, saved), None);
        assert_eq!(of("", 7, saved), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(ended_by_log(run.path(), 7, saved).unwrap(), None);
        assert_eq!(end_line(&"x".repeat(MAX_END_LINE), 7, ended), None);
    }
}
