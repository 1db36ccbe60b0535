//! Writes the lines of the log, and knows where those of each position end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_ckpt::chain;
use burn_ckpt::metrics_log::{
    Line, LineSpeed, LogMark, LoggedEnd, MAX_LINE_BYTES, Scope, Split, end_line, head, line_digest,
};
use burn_ckpt::plumbing::storage::{self, StoredFile};
use indexmap::IndexMap;
use jiff::Timestamp;

use super::batch_steps::BatchSteps;
use super::history_lines::HistoryLines;
use super::open_log::LogStart;
use super::position_marks::{LogPosition, Marks, Moment};
use crate::process::console::warn;
use crate::run_files::line_file::LineFile;

/// How long lines wait at most for others, to be written together.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// A line of a batch has the speed if the last line with it was this long ago or longer.
const SPEED_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of lines that are written at once.
const BLOCK: usize = 1 << 16;

/// Gives the speed since it was called last.
pub(crate) type SpeedOfLines = Box<dyn FnMut() -> Option<LineSpeed> + Send>;

/// The log of a run.
pub(super) struct LogWriter {
    path: PathBuf,
    head: String,
    /// How it begins, until it has begun.
    beginning: Option<LogStart>,
    /// The position at which it begins.
    position: LogPosition,
    /// `None` until it has begun.
    file: Option<LineFile>,
    /// Lines that were not written yet.
    waiting: String,
    written: Instant,
    /// The length of the log with all lines.
    length: u64,
    /// The length of what is there before the first new line.
    begun: u64,
    marks: Marks,
    pub(super) steps: BatchSteps,
    pub(super) speed: Option<SpeedOfLines>,
    /// The timestamp of the start that writes it.
    pub(super) start: Option<Timestamp>,
    /// When a line had the speed.
    measured: Instant,
    /// The length that is durable, once the file's name is.
    durable: Option<u64>,
    has_reported: bool,
    has_gaps: bool,
    /// Whether what was written before was removed. No checkpoint counts the lines then, so that a resume
    /// writes all again.
    was_removed: bool,
    /// The lines for the callbacks, until the loop takes them. `None` where there are no callbacks.
    collected: Option<Vec<Line>>,
    /// How the run ends, where no checkpoint says it.
    ended: Option<LoggedEnd>,
}

impl LogWriter {
    pub(super) fn new(path: PathBuf, run_id: &str, beginning: LogStart, position: LogPosition) -> Self {
        Self {
            path,
            head: head(run_id, Timestamp::now()),
            beginning: Some(beginning),
            position,
            file: None,
            waiting: String::new(),
            written: Instant::now(),
            length: 0,
            begun: 0,
            marks: Marks::default(),
            steps: BatchSteps::default(),
            speed: None,
            start: None,
            measured: Instant::now(),
            durable: None,
            has_reported: false,
            has_gaps: false,
            was_removed: false,
            collected: None,
            ended: None,
        }
    }

    pub(super) fn log_batch(&mut self, epoch: u64, batch: u64, metrics: IndexMap<String, f64>) {
        // Without a value, or of a batch that was not announced.
        let Some(step) = self.steps.take(epoch, batch).filter(|_| !metrics.is_empty()) else { return };
        let line = Line::new(step, epoch, Split::Train, Scope::Batch, metrics).with_batch(batch);
        self.log(Moment::of_batch(epoch, batch), line);
    }

    pub(super) fn log_validation(&mut self, position: LogPosition, metrics: IndexMap<String, f64>) {
        let LogPosition { epoch, step, .. } = position;
        if !metrics.is_empty() {
            let line = Line::new(step, epoch, Split::Valid, Scope::Validation, metrics);
            self.log(Moment::of_validation(position), line);
        }
        self.write();
    }

    pub(super) fn log_epoch(&mut self, epoch: u64, step: u64, metrics: IndexMap<String, f64>) {
        self.marks.forget_before(epoch);
        if !metrics.is_empty() {
            self.log(Moment::of_epoch(epoch), Line::new(step, epoch, Split::Train, Scope::Epoch, metrics));
        }
        self.write();
    }

    fn log(&mut self, moment: Moment, line: Line) {
        self.begin();
        let line = self.with_speed(line).with_time(now());
        let text = format!("{line}\n");
        if text.len() > MAX_LINE_BYTES {
            self.has_gaps = true;
            return;
        }
        self.length += text.len() as u64;
        self.marks.push(moment, self.length, line_digest(text.as_bytes()));
        self.waiting.push_str(&text);
        if let Some(collected) = &mut self.collected {
            collected.push(line);
        }
        if self.waiting.len() >= BLOCK || self.written.elapsed() >= MAX_WAIT {
            self.write();
        }
    }

    /// Collects the lines for the callbacks from now on.
    pub(super) fn collect(&mut self) {
        self.collected = Some(Vec::new());
    }

    /// The lines that were logged since the last call.
    pub(super) fn take_collected(&mut self) -> Vec<Line> {
        self.collected.as_mut().map_or_else(Vec::new, std::mem::take)
    }

    /// The line with the speed since the last one that has it, if it is to have that.
    fn with_speed(&mut self, line: Line) -> Line {
        let is_due = match line.scope {
            Scope::Epoch => true,
            Scope::Batch => self.measured.elapsed() >= SPEED_INTERVAL,
            _ => false,
        };
        let speed = self.speed.as_mut().filter(|_| is_due).and_then(|measure| measure());
        let Some(speed) = speed else { return line };
        self.measured = Instant::now();
        line.with_speed(speed)
    }

    /// Finds out how long the log is before its first new line.
    fn begin(&mut self) {
        let Some(beginning) = self.beginning.take() else { return };
        let mut digest = line_digest(self.head.as_bytes());
        self.length = self.head.len() as u64;
        match &beginning {
            LogStart::New => {}
            LogStart::Continued(mark) => {
                (self.length, digest) = (mark.bytes, mark.digest().unwrap_or_default());
            }
            LogStart::Again(lines) => {
                let counted: Result<(), std::convert::Infallible> = lines.try_for_each(|line| {
                    (self.length, digest) = (self.length + line.len() as u64, line_digest(line.as_bytes()));
                    Ok(())
                });
                let Ok(()) = counted;
            }
        }
        self.begun = self.length;
        self.marks.push(Moment::of(self.position), self.length, digest);
        let [head, again] = [self.head.clone(), self.head.clone()];
        let open = move |path: &Path| beginning.open(path, &head);
        let file = LineFile::new(self.path.clone(), Box::new(open));
        self.file = Some(file.beginning_again(Box::new(move |path| LogStart::New.open(path, &again))));
    }

    pub(super) fn mark_at(&self, position: LogPosition) -> Option<LogMark> {
        match &self.beginning {
            Some(LogStart::Continued(mark)) => Some(mark.clone()),
            Some(_) => None,
            None if self.was_removed => None,
            None => self.marks.at(position),
        }
    }

    pub(super) fn has_all_until(&self, position: LogPosition) -> bool {
        let is_incomplete = self.has_gaps || self.file.as_ref().is_some_and(LineFile::is_incomplete);
        !is_incomplete && self.mark_at(position).is_some()
    }

    /// Writes the lines that were not written yet.
    pub(super) fn write(&mut self) {
        let Some(file) = &mut self.file else { return };
        self.written = Instant::now();
        let written = file.write_after_kept(&self.waiting);
        self.waiting.clear();
        let was_removed = file.take_was_removed();
        if file.has_lost() || was_removed {
            if file.has_lost() {
                file.continue_after_gap();
            }
            self.durable = self.durable.filter(|_| !was_removed);
            self.was_removed |= was_removed;
            // What was counted is not what the file will have.
            self.length = if file.is_open() { file.length() } else { self.begun };
            self.marks.clear();
            self.has_gaps = true;
        }
        match written {
            Ok(()) => self.has_reported = false,
            Err(error) => self.report("written", &error),
        }
    }

    /// Says that the log fails, once until it succeeds.
    fn report(&mut self, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.has_reported, true) {
            warn(&format!(
                "the log {} cannot be {what}: {}. Training continues, and its lines are kept and written when that is possible",
                self.path.display(),
                chain(error)
            ));
        }
    }

    /// Writes what is left, and returns what is not durable yet. `None` if everything is, or nothing can be.
    pub(super) fn lines_to_sync(&mut self) -> Option<UnsyncedLines> {
        self.write();
        let file = self.file.as_ref()?;
        let length = file.length();
        if self.durable == Some(length) {
            return None;
        }
        match file.second_handle() {
            Ok(handle) => {
                let directory = self.durable.is_none().then(|| self.path.parent().map(Path::to_path_buf));
                Some(UnsyncedLines { file: handle?, length, directory: directory.flatten() })
            }
            Err(error) => {
                self.report("synced", &error);
                None
            }
        }
    }

    pub(super) fn note_synced(&mut self, lines: &UnsyncedLines, synced: io::Result<()>) {
        match synced {
            Ok(()) => self.durable = Some(lines.length),
            Err(error) => self.report("synced", &error),
        }
    }

    /// `saved` is when the newest state was saved: the end is not before that, also when the clock was set
    /// back.
    pub(super) fn note_end(
        &mut self,
        ended: &str,
        because: Option<&str>,
        step: u64,
        saved: Option<Timestamp>,
    ) {
        let time = saved.map_or_else(Timestamp::now, |saved| saved.max(Timestamp::now()));
        let end = LoggedEnd::new(ended, because, step, time);
        self.ended = Some(LoggedEnd { start: self.start, ..end });
    }

    /// The lines with which it begins again, until it has begun.
    pub(super) fn written_again(&self) -> Option<Arc<HistoryLines>> {
        match &self.beginning {
            Some(LogStart::Again(lines)) => Some(Arc::clone(lines)),
            _ => None,
        }
    }

    /// Writes what is left. Returns whether the file has all lines then.
    pub(super) fn is_whole(&mut self) -> bool {
        self.write();
        !self.has_gaps && !self.file.as_ref().is_some_and(LineFile::is_incomplete)
    }

    pub(super) fn end(&mut self) {
        // The last line. A log that has not begun is not changed: it can be that of a later state.
        if let Some(end) = self.ended.take().filter(|_| self.file.is_some())
            && let Some(line) = end_line(&end)
        {
            self.length += line.len() as u64;
            self.waiting.push_str(&line);
        }
        if !self.is_whole() {
            warn(&format!("the log {} is incomplete: lines could not be written", self.path.display()));
        }
    }
}

/// As exact as it stands in the log.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Lines that are written, and not durable yet.
pub(super) struct UnsyncedLines {
    file: StoredFile,
    length: u64,
    /// The directory, until the file's name in it is durable.
    directory: Option<PathBuf>,
}

impl UnsyncedLines {
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.directory.as_deref().map_or(Ok(()), |directory| storage::sync_directory(directory).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn_ckpt::metrics_log::{METRICS_FILE, ended_by_log};

    use super::*;
    use crate::run_files::line_file::MAX_UNWRITTEN;

    #[test]
    fn the_last_line_has_the_beginning_of_a_long_message_and_no_log_is_begun_for_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(METRICS_FILE);
        let position = LogPosition { epoch: 0, batches: 0, validations: 0, step: 0 };
        for has_lines in [false, true] {
            let mut writer = LogWriter::new(path.clone(), "r1", LogStart::New, position);
            if has_lines {
                writer.log_validation(position, IndexMap::from([("val_loss".to_owned(), 0.5)]));
            }
            // The longest escapes that JSON has.
            writer.note_end(&format!("exception: {}", "\u{1}".repeat(100_000)), None, 7, None);
            writer.end();
            let ended = ended_by_log(root.path(), 7, Timestamp::MIN).unwrap();
            assert_eq!((path.exists(), ended.is_some()), (has_lines, has_lines));
            let Some(end) = ended else { continue };
            assert!(end.ended.starts_with("exception: \u{1}") && end.ended.ends_with("\u{1}.."));
        }
    }

    #[test]
    fn a_mark_after_lines_were_lost_before_the_log_could_be_opened_is_where_they_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(METRICS_FILE);
        fs::create_dir(&path).unwrap();
        let position = |validations| LogPosition { epoch: 0, batches: 0, validations, step: 0 };
        let mut writer = LogWriter::new(path.clone(), "r1", LogStart::New, position(0));
        let values: IndexMap<String, f64> =
            (0..5_000).map(|metric| (format!("val_{metric}"), 0.123_456)).collect();
        let lines = 2 * MAX_UNWRITTEN / 100_000;
        for number in 0..lines as u64 {
            writer.log_validation(position(number), values.clone());
        }
        fs::remove_dir(&path).unwrap();
        let last = IndexMap::from([("val_loss".to_owned(), 1.0)]);
        writer.log_validation(position(lines as u64), last);
        let mark = writer.mark_at(position(lines as u64 + 1)).unwrap();
        assert_eq!(mark.bytes, fs::metadata(&path).unwrap().len());
        assert!(mark.is_in(&path).unwrap());
    }
}
