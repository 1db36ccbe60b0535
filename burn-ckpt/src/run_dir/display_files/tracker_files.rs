//! The files that burn-trainer's trackers write to a run's directory. They go with the run.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::disk::directories::{entry, list};
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::metrics_log::csv::heading_start;

/// The table of all values.
pub const CSV_FILE: &str = "metrics.csv";
/// How the names of the trackers' states begin and end, and how the files begin.
const STATE_PREFIX: &str = "tracker-";
const STATE_SUFFIX: &str = ".json";
const STATE_START: &str = "{\"format\":\"burn-trainer tracker\",";

/// How the names of TensorBoard's event files begin, and how those of burn-trainer end.
const EVENTS_PREFIX: &str = "events.out.tfevents.";
const EVENTS_SUFFIX: &str = ".burn-trainer";
/// What the staging name of an event file stands for. TensorBoard reads each file with `tfevents` in its
/// name.
pub const UNFINISHED_EVENTS: &str = "events.burn-trainer";

/// The name of a tracker's state.
#[must_use]
pub fn state_name(tracker: &str) -> String {
    format!("{STATE_PREFIX}{tracker}{STATE_SUFFIX}")
}

/// The name of an event file of TensorBoard. A file with a higher number is read later.
#[must_use]
pub fn event_file_name(number: u64) -> String {
    format!("{EVENTS_PREFIX}{number:010}{EVENTS_SUFFIX}")
}

/// The number of an event file that burn-trainer has written. `None` for another file.
#[must_use]
pub fn event_file_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(EVENTS_PREFIX)?.strip_suffix(EVENTS_SUFFIX)?.parse().ok()?;
    (event_file_name(number) == name).then_some(number)
}

/// Whether a name is that of a file which a tracker writes whole.
pub(in crate::run_dir) fn is_written_whole(name: &str) -> bool {
    name == CSV_FILE || name == UNFINISHED_EVENTS || is_state(name)
}

fn is_state(name: &str) -> bool {
    name.starts_with(STATE_PREFIX) && name.ends_with(STATE_SUFFIX)
}

/// The files of trackers in a run's directory. A user's file of such a name is not among them.
///
/// # Errors
///
/// [`Error::Io`] when the directory or a file cannot be read.
pub fn tracker_files(run_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in list(run_dir)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let start = match name {
            CSV_FILE => heading_start(),
            state if is_state(state) => STATE_START.to_owned(),
            events if event_file_number(events).is_some() => String::new(),
            _ => continue,
        };
        if entry(&path)?.is_some_and(|entry| entry.is_file()) && begins_with(&path, start.as_bytes())? {
            files.push(path);
        }
    }
    Ok(files)
}

fn begins_with(path: &Path, start: &[u8]) -> Result<bool> {
    let file = match StoredFile::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(Error::io("open", path))?,
    };
    let mut read = Vec::new();
    file.take(start.len() as u64).read_to_end(&mut read).map_err(Error::io("read", path))?;
    Ok(read == start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_begins_as_a_trackers_file_is_one() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write(CSV_FILE, "step,epoch,split,scope,batch,time,train_loss\n");
        write("tracker-mlflow.json", "{\"format\":\"burn-trainer tracker\",\"run_id\":\"r1\"}\n");
        write(&event_file_name(1_700_000_000), "");
        write("events.out.tfevents.1700000000.host", "of another program");
        write("events.out.tfevents.17.burn-trainer", "with another number");
        write("tracker-mine.json", "{}");
        write("metrics.jsonl", "step,epoch,split,scope,batch,time\n");
        let mut found = tracker_files(root.path()).unwrap();
        found.sort();
        let events = "events.out.tfevents.1700000000.burn-trainer";
        assert_eq!(found, [events, CSV_FILE, "tracker-mlflow.json"].map(|name| root.path().join(name)));
        write(CSV_FILE, "step,loss\n");
        assert_eq!(tracker_files(root.path()).unwrap().len(), 2, "a table of a user");
    }
}
