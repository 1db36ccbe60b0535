//! The run's metrics log, `metrics.jsonl`: a line for each training batch, each validation and each epoch.
//!
//! burn's thread logs the batches, the loop logs validations and epochs, and the writer's thread makes
//! durable what a checkpoint counts. Lines are written together: at least once a second, at the end of each
//! validation and each epoch, and for each save.
//!
//! From top to bottom: `writer`, then `open_log`, `history_lines`, `position_marks`, `batch_steps`; and
//! `earlier_epochs`.

mod batch_steps;
mod earlier_epochs;
mod history_lines;
mod open_log;
mod position_marks;
mod writer;

use std::path::Path;
use std::sync::Arc;

use burn_ckpt::metrics_log::{Line, LogMark, METRICS_FILE};
use indexmap::IndexMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::table::SharedMetrics;
use crate::process::console::{note, warn};
pub(crate) use batch_steps::StepOfBatch;
pub(crate) use earlier_epochs::add_earlier_epochs;
pub(crate) use history_lines::HistoryLines;
pub(crate) use history_lines::ResumedLog;
use open_log::LogStart;
pub(crate) use open_log::remove_metrics_log;
pub(crate) use position_marks::LogPosition;
use writer::LogWriter;
pub(crate) use writer::SpeedOfLines;

/// The log of a run in progress. Clones share it. In a process that does not write it does nothing.
#[derive(Clone, Default)]
pub(crate) struct MetricsLog(Arc<Mutex<Option<LogWriter>>>);

impl std::fmt::Debug for MetricsLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MetricsLog").finish_non_exhaustive()
    }
}

impl MetricsLog {
    /// Writes the log of a new run, from its first line on. Says so if that replaces the log of an earlier
    /// start, which left no checkpoint to resume from.
    pub(crate) fn begin(&self, run_dir: &Path, run_id: &str) {
        let path = run_dir.join(METRICS_FILE);
        if open_log::has_earlier_lines(&path) {
            warn(&format!("{} of an earlier start, which left no checkpoint, is replaced", path.display()));
        }
        self.open(run_dir, run_id, LogStart::New, LogPosition::default());
    }

    /// Continues the log of a run that resumes. Says so if the log in the directory is not that of the
    /// checkpoint: then it is written again, from the checkpoint's history. Nothing is changed before the
    /// first line.
    pub(crate) fn resume(
        &self,
        run_dir: &Path,
        run_id: &str,
        resumed: &ResumedLog<'_>,
        table: &SharedMetrics,
    ) {
        let path = run_dir.join(METRICS_FILE);
        let beginning = match open_log::mark_to_continue_from(resumed.mark, &path) {
            Ok(mark) => LogStart::Continued(mark),
            Err(reason) => {
                let lines = HistoryLines::new(resumed, table.clone());
                // A run whose metrics are not numbers has no log.
                if resumed.mark.is_some() || !lines.is_empty() {
                    let but = match lines.missing_batches() {
                        0 => String::new(),
                        missing => format!(" after the first {missing}"),
                    };
                    note(&format!(
                        "{} {reason}: it is written again from the checkpoint's history, which has the values of the epochs, \
                         and those of the batches of the epoch in progress{but}",
                        path.display()
                    ));
                }
                LogStart::Again(Arc::new(lines))
            }
        };
        self.open(run_dir, run_id, beginning, resumed.position);
    }

    fn open(&self, run_dir: &Path, run_id: &str, beginning: LogStart, position: LogPosition) {
        *self.0.lock() = Some(LogWriter::new(run_dir.join(METRICS_FILE), run_id, beginning, position));
    }

    /// The lines with which the log is written again, until it has begun.
    pub(crate) fn written_again(&self) -> Option<Arc<HistoryLines>> {
        self.0.lock().as_ref().and_then(LogWriter::written_again)
    }

    /// Whether the file has all lines that were logged.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.lock().as_mut().is_none_or(LogWriter::is_whole)
    }

    /// Collects the lines from now on, for [`take_collected`](Self::take_collected).
    pub(crate) fn collect(&self) {
        self.with(LogWriter::collect);
    }

    /// The lines that were logged since the last call.
    pub(crate) fn take_collected(&self) -> Vec<Line> {
        self.0.lock().as_mut().map_or_else(Vec::new, LogWriter::take_collected)
    }

    /// Sets how the steps of batches are found where the loop does not note them.
    pub(crate) fn count_steps_by(&self, step_of_batch: StepOfBatch) {
        self.with(|log| log.steps.count_by(step_of_batch));
    }

    /// Sets what the lines say of the speed. Without it they say nothing.
    pub(crate) fn measure_by(&self, speed: SpeedOfLines) {
        self.with(|log| log.speed = Some(speed));
    }

    /// Notes the timestamp of the start that writes the log.
    pub(crate) fn note_start(&self, start: Timestamp) {
        self.with(|log| log.start = Some(start));
    }

    /// Notes the optimizer step of a batch, both counted from 1, before it is logged.
    pub(crate) fn note_step(&self, epoch: u64, batch: u64, step: u64) {
        self.with(|log| log.steps.note(epoch, batch, step));
    }

    /// Logs the values of a training batch.
    pub(super) fn log_batch(&self, epoch: u64, batch: u64, metrics: IndexMap<String, f64>) {
        self.with(|log| log.log_batch(epoch, batch, metrics));
    }

    /// Logs the values of the validation that comes next at a position.
    pub(super) fn log_validation(&self, position: LogPosition, metrics: IndexMap<String, f64>) {
        self.with(|log| log.log_validation(position, metrics));
    }

    /// Logs the values of an epoch's training, which ended with this step.
    pub(super) fn log_epoch(&self, epoch: u64, step: u64, metrics: IndexMap<String, f64>) {
        self.with(|log| log.log_epoch(epoch, step, metrics));
    }

    /// The end of the lines of a position. `None` where there are none.
    pub(crate) fn mark_at(&self, position: LogPosition) -> Option<LogMark> {
        self.0.lock().as_ref()?.mark_at(position)
    }

    /// Whether the log has every line up to a position, as far as this process knows.
    pub(crate) fn has_all_until(&self, position: LogPosition) -> bool {
        self.0.lock().as_ref().is_some_and(|log| log.has_all_until(position))
    }

    /// Writes the lines that were not written yet.
    pub(crate) fn write(&self) {
        self.with(LogWriter::write);
    }

    /// Makes the lines that were logged durable. A failure is said once: the checkpoint that counts them is
    /// saved all the same, and a run that resumes from it finds out whether they are there.
    pub(crate) fn make_durable(&self) {
        // Lines are logged while the disk works.
        let Some(lines) = self.0.lock().as_mut().and_then(LogWriter::lines_to_sync) else { return };
        let synced = lines.sync();
        self.with(|log| log.note_synced(&lines, synced));
    }

    /// Notes how the run ends at a step, for the last line: where no checkpoint says it. `saved` is when the
    /// newest state was saved.
    pub(crate) fn note_end(&self, ended: &str, because: Option<&str>, step: u64, saved: Option<Timestamp>) {
        self.with(|log| log.note_end(ended, because, step, saved));
    }

    /// Writes what is left, and says if lines are missing in the file.
    pub(crate) fn end(&self) {
        self.with(LogWriter::end);
    }

    fn with(&self, act: impl FnOnce(&mut LogWriter)) {
        if let Some(log) = self.0.lock().as_mut() {
            act(log);
        }
    }
}
