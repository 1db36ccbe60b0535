//! TensorBoard: an event file in the run's directory.
//!
//! From top to bottom: this file, then `event`, then `message` and `record`.

mod event;
mod message;
mod record;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::{Line, METRICS_FILE};
use burn_ckpt::plumbing::{Existing, UNFINISHED_EVENTS, event_file_name, event_file_number, storage};
use jiff::Timestamp;
use serde_json::Value;

use self::event::SessionStatus;
use self::message::Message;
use super::flattened::{flattened, text_of};
use super::rewritten_file::RewrittenFile;
use super::scalar_name::scalar_name;
use super::tracker::{StartAt, Tracker, TrackerResult};
use crate::callbacks::{RunEnd, RunInfo};
use crate::process::console::warn;
use crate::run_files::line_file::Open;
use crate::run_files::regular_file;
use crate::state::end_reason::RunOutcome;

/// Characters of a value in a text: the list of the program's packages has some 50,000.
const MAX_VALUE: usize = 500;

/// Writes an event file of TensorBoard in the run's directory, `events.out.tfevents.*`. `tensorboard --logdir
/// burn_trainer_logs` shows all runs of that directory by their ids.
///
/// It has the values of each batch (`train_loss_step`), of each epoch's training (`train_loss_epoch`) and of
/// each validation (`val_loss`), as 32-bit numbers; the hyperparameters, for the HParams tab; settings,
/// environment and notes, for the Text tab. A run that resumes writes its file again from `metrics.jsonl`,
/// under a new name, so that no value is missing or there twice. The earlier file stays until the new one has
/// all values from before the resume.
///
/// ```
/// let tracker = burn_trainer::trackers::TensorBoard::new(); // for `Trainer::tracker`
/// ```
#[derive(Default)]
pub struct TensorBoard {
    file: Option<RewrittenFile>,
    /// The first event, with which a file begins again that was removed.
    version: Vec<u8>,
    /// The files of earlier processes.
    earlier: Vec<PathBuf>,
    /// The metrics that had a value which is too large for 32 bits.
    too_large: HashSet<String>,
}

impl TensorBoard {
    /// A tracker for the directory of the run that it is given to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn write(&mut self, events: impl Iterator<Item = Message>) -> TrackerResult {
        let bytes: Vec<u8> = events.flat_map(|event| record::record(event.as_bytes())).collect();
        Ok(self.file.as_mut().ok_or("it was not started")?.write(&bytes)?)
    }

    /// Warns of the first value of a metric that has no place in 32 bits.
    fn note_too_large(&mut self, metric: &str, value: f64) {
        if value.is_finite() && (value as f32).is_infinite() && self.too_large.insert(metric.to_owned()) {
            warn(&format!(
                "the tracker tensorboard: {metric} has a value of {value:e}, which is infinite in the 32 bits of TensorBoard. \
                 {METRICS_FILE} has it"
            ));
        }
    }
}

impl std::fmt::Debug for TensorBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorBoard").finish_non_exhaustive()
    }
}

impl Tracker for TensorBoard {
    fn name(&self) -> String {
        "tensorboard".to_owned()
    }

    fn start(&mut self, run: &RunInfo, _: Option<Value>) -> TrackerResult<StartAt> {
        let now = Timestamp::now();
        let earlier = event_files(&run.run_dir)?;
        // Readers read files in the order of their names.
        let after_all = earlier.iter().map(|(number, _)| number.saturating_add(1)).max();
        let number = after_all.unwrap_or_default().max(now.as_second().unsigned_abs());
        let path = run.run_dir.join(event_file_name(number));
        let time = seconds(now);
        self.version = record::record(event::version(time).as_bytes());
        let (empty, again) = (beginning(Vec::new()), beginning(self.version.clone()));
        self.file = Some(match run.resumed_from {
            Some(_) => RewrittenFile::beside(path, &run.run_dir.join(UNFINISHED_EVENTS), empty, again)?,
            None => RewrittenFile::at_its_place(path, empty, again),
        });
        let mut events = vec![event::version(time)];
        if run.resumed_from.is_some() {
            // A TensorBoard that is open drops what it has of the run.
            events.push(event::restart(time, 0));
        }
        let hparams = flattened(&run.hparams);
        events.push(event::session_start(time, hparams.iter().map(|(name, value)| (name.clone(), *value))));
        let texts = [("hparams", &run.hparams), ("trainer_config", &run.trainer_config)];
        events.extend(texts.into_iter().map(|(tag, value)| event::text(time, tag, &list(value))));
        events.push(event::text(time, "environment", &list(&run.environment())));
        events.extend(run.notes.iter().map(|notes| event::text(time, "notes", notes)));
        self.write(events.into_iter())?;
        self.earlier = earlier.into_iter().map(|(_, path)| path).collect();
        Ok(StartAt::FirstLineOfFile)
    }

    fn caught_up(&mut self) -> TrackerResult {
        let again = beginning(self.version.clone());
        self.file.as_mut().ok_or("it was not started")?.publish(Existing::Keep, again)?;
        for path in &self.earlier {
            storage::remove_file(path)?;
        }
        Ok(())
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        for line in lines {
            for (metric, value) in &line.metrics {
                self.note_too_large(metric, *value);
            }
        }
        self.write(lines.iter().map(|line| {
            let values = line.metrics.iter().map(|(name, value)| (scalar_name(line, name), value));
            event::scalars(seconds(line.time.unwrap_or_else(Timestamp::now)), line.step, values)
        }))
    }

    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        let status = match end.outcome {
            RunOutcome::Failed(_) => SessionStatus::Failure,
            _ => SessionStatus::Success,
        };
        self.write(std::iter::once(event::session_end(seconds(Timestamp::now()), status)))
    }
}

/// The event files that this tracker has written to a directory, with their numbers.
fn event_files(run_dir: &Path) -> TrackerResult<Vec<(u64, PathBuf)>> {
    let files = storage::list(run_dir)?.unwrap_or_default().into_iter();
    Ok(files.filter_map(|path| Some((event_file_number(path.file_name()?.to_str()?)?, path))).collect())
}

/// Creates a file that begins with these bytes.
fn beginning(bytes: Vec<u8>) -> Open {
    Box::new(move |path: &Path| {
        let mut file = regular_file::create(path)?;
        file.write_all(&bytes)?;
        Ok((file, bytes.len() as u64))
    })
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// A Markdown list of all values, by their names. In a table TensorBoard would make the names' column as
/// narrow as a letter, for a long value.
fn list(value: &Value) -> String {
    let rows = flattened(value).into_iter().map(|(name, value)| {
        let (name, value) = (code(&name), code(&shortened(&text_of(value))));
        format!("- {name}: {value}\n")
    });
    rows.collect()
}

/// A text as it stands, in one line.
fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    // A fence that is longer than any in the text.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 || text.is_empty() { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// The start of a long text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_shown_as_it_stands_and_not_longer_than_a_few_lines() {
        let value = json!({"a_b": "*x* | y\nz", "tick": "a ``b` c", "none": "", "long": "ä".repeat(9_999)});
        let text = list(&value);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["- `a_b`: `*x* | y z`", "- `tick`: ``` a ``b` c ```", "- `none`: `  `"]);
        assert_eq!(lines[3], format!("- `long`: `{}...`", "ä".repeat(MAX_VALUE)));
    }
}
