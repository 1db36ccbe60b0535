//! What a tracker has sent, and its own state: `tracker-<name>.json` in the run's directory. It is ahead of
//! the checkpoints, so it is not in them.

use std::io::{Read, Write};
use std::path::PathBuf;

use burn_ckpt::plumbing::storage::{self, StoredFile};
use burn_ckpt::plumbing::{Existing, MAX_JSON_VALUES, parse_json, state_name, write_whole};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sent_lines::SentLines;
use super::tracker::{TrackerError, TrackerResult};
use crate::callbacks::RunInfo;

/// What such a file says that it is.
const FORMAT: &str = "burn-trainer tracker";
/// The largest file that is read or written, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SentState {
    format: String,
    /// A copy of a run's directory under another id is another run.
    run_id: String,
    /// When the run started: a later run of the same id is another one.
    #[serde(default)]
    run_start: Option<Timestamp>,
    pub(super) sent: SentLines,
    #[serde(default)]
    pub(super) state: Option<Value>,
}

/// The file of one tracker of a run.
pub(super) struct StateFile {
    path: PathBuf,
    run_id: String,
    run_start: Timestamp,
}

impl StateFile {
    pub(super) fn new(run: &RunInfo, tracker: &str) -> Self {
        let path = run.run_dir.join(state_name(tracker));
        Self { path, run_id: run.run_id.clone(), run_start: run.start }
    }

    /// What an earlier process of the run has left.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; permanent when it is something else.
    pub(super) fn read(&self) -> TrackerResult<Option<SentState>> {
        let Some(entry) = storage::entry(&self.path).map_err(burn_ckpt::Error::io("read", &self.path))?
        else {
            return Ok(None);
        };
        let content = if entry.is_file() { self.content()? } else { None };
        match content {
            Some(state) if state.format == FORMAT => {
                let is_of_run = state.run_id == self.run_id && state.run_start == Some(self.run_start);
                Ok(Some(state).filter(|_| is_of_run))
            }
            _ => Err(TrackerError::permanent(format!(
                "{} is not the state of a tracker, and stays as it is: move it away",
                self.path.display()
            ))),
        }
    }

    fn content(&self) -> TrackerResult<Option<SentState>> {
        let mut text = Vec::new();
        let file = StoredFile::open(&self.path).map_err(burn_ckpt::Error::io("open", &self.path))?;
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut text);
        read.map_err(burn_ckpt::Error::io("read", &self.path))?;
        if text.len() as u64 > MAX_BYTES {
            return Ok(None);
        }
        Ok(parse_json(&text, MAX_JSON_VALUES).ok())
    }

    /// Replaces it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn write(&self, sent: &SentLines, state: Option<Value>) -> TrackerResult {
        let content = SentState {
            format: FORMAT.to_owned(),
            run_id: self.run_id.clone(),
            run_start: Some(self.run_start),
            sent: sent.clone(),
            state,
        };
        let text = serde_json::to_string(&content)? + "\n";
        if text.len() as u64 > MAX_BYTES {
            return Err(TrackerError::permanent(format!("its state has more than {MAX_BYTES} bytes")));
        }
        let write = |file: &mut StoredFile| -> burn_ckpt::Result<()> {
            file.write_all(text.as_bytes()).map_err(burn_ckpt::Error::io("write", &self.path))
        };
        Ok(write_whole(&self.path, Existing::Replace, write)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trackers::sent_lines::MAX_KNOWN;
    use burn_ckpt::metrics_log::{Line, Scope, Split};
    use indexmap::IndexMap;
    use std::fs;
    use tempfile::tempdir;

    #[test]
    fn the_lines_of_a_long_run_leave_room_for_a_tracker_s_state() {
        let root = tempdir().unwrap();
        let path = root.path().join("tracker-t.json");
        let file = StateFile { path, run_id: "r1".to_owned(), run_start: Timestamp::UNIX_EPOCH };
        let mut sent = SentLines::default();
        for number in 0..2 * MAX_KNOWN as u64 {
            for (scope, split) in [
                (Scope::Batch, Split::Train),
                (Scope::Validation, Split::Valid),
                (Scope::Epoch, Split::Train),
            ] {
                let (step, epoch) = (1_000_000_000 + number, 1_000_000 + number);
                sent.note(&Line::new(step, epoch, split, scope, IndexMap::new()).with_batch(step));
            }
        }
        file.write(&sent, Some("x".repeat(400_000).into())).unwrap();
        assert_eq!(file.read().unwrap().unwrap().sent, sent);
    }

    #[test]
    fn a_state_comes_back_and_a_file_of_a_user_stays() {
        let root = tempdir().unwrap();
        let at = |run_id: &str, second| StateFile {
            path: root.path().join("tracker-t.json"),
            run_id: run_id.to_owned(),
            run_start: Timestamp::from_second(second).unwrap(),
        };
        let of_run = |run_id: &str| at(run_id, 1);
        assert!(of_run("r1").read().unwrap().is_none());
        of_run("r1").write(&SentLines::default(), Some("id".into())).unwrap();
        assert_eq!(of_run("r1").read().unwrap().unwrap().state, Some("id".into()));
        assert!(of_run("r2").read().unwrap().is_none(), "a copy of the run");
        assert!(at("r1", 2).read().unwrap().is_none(), "an earlier run of the same id");
        for other in ["", "{}", "mine", "{\"format\":\"burn-trainer tracker\""] {
            fs::write(root.path().join("tracker-t.json"), other).unwrap();
            let error = of_run("r1").read().unwrap_err();
            assert!(error.is_permanent && error.to_string().contains("move it away"), "{error}");
        }
        let error = of_run("r1").write(&SentLines::default(), Some("x".repeat(1 << 20).into())).unwrap_err();
        assert!(error.is_permanent && error.to_string().contains("1048576"), "{error}");
    }
}
