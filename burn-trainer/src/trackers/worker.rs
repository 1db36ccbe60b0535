//! A tracker's thread: it starts the tracker, sends what was logged before a resume, then what is logged, and
//! tells it how the run ended. What fails is tried again. Lines that the queue has no room for are read from
//! the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_ckpt::metrics_log::{self, Line, METRICS_FILE};
use burn_ckpt::plumbing::panic_message;

use super::queue::{MAX_BATCH, Next, Queue};
use super::sent_lines::{Compared, SentLines};
use super::state_file::StateFile;
use super::tracker::{StartAt, Tracker, TrackerError, TrackerResult};
use crate::callbacks::{RunEnd, RunInfo};
use crate::process::console::warn;
use crate::retry_pause::RetryPause;

/// Lines wait this long for others, to be sent together.
const INTERVAL: Duration = Duration::from_secs(1);
/// Characters of an error that are shown.
const MAX_MESSAGE: usize = 500;

/// The tracker on its thread.
pub(super) struct Worker<T> {
    tracker: T,
    name: String,
    run: RunInfo,
    queue: Arc<Queue>,
    file: StateFile,
    /// What the tracker has, of this process and earlier ones.
    sent: SentLines,
    /// What the run has logged up to here, sent by whatever process.
    logged: SentLines,
    uncompared: Option<Uncompared>,
    has_reported: bool,
}

/// Lines that were sent by an earlier process, with values that are not known any more. They are the same if
/// the first line after them that is known is the same.
struct Uncompared {
    first: Line,
    /// What the run has logged before the first one, and how many lines since.
    before: SentLines,
    count: usize,
}

/// Why the thread ends early.
enum EndsEarly {
    /// The time after the run's end is over.
    TooLate,
    /// The tracker cannot be started.
    NotStarted(String),
}

impl<T: Tracker> Worker<T> {
    pub(super) fn new(tracker: T, run: RunInfo, queue: Arc<Queue>) -> Self {
        let name = tracker.name();
        let file = StateFile::new(&run, &name);
        Self {
            tracker,
            name,
            run,
            queue,
            file,
            sent: SentLines::default(),
            logged: SentLines::default(),
            uncompared: None,
            has_reported: false,
        }
    }

    /// Works until the run has ended.
    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let has_finished = matches!(worked, Ok(Ok(())));
        let error = match worked {
            Ok(Ok(()) | Err(EndsEarly::TooLate)) => None,
            Ok(Err(EndsEarly::NotStarted(error))) => Some(error),
            Err(panic) => {
                let message = format!("it panicked: {}", panic_message(&*panic));
                self.report(&format!("{message}. Training continues without it"));
                Some(message)
            }
        };
        self.queue.finish(has_finished, error);
    }

    fn work(&mut self) -> Result<(), EndsEarly> {
        self.start()?;
        let mut sent_at = Instant::now();
        let mut has_sent_those_before = false;
        loop {
            let next = self.queue.next(sent_at + INTERVAL);
            // Not earlier: where the log is written again, its lines are known with the first new one.
            if !std::mem::replace(&mut has_sent_those_before, true) {
                self.send_those_before()?;
            }
            match next {
                Next::ReadLog => self.send_from_log()?,
                Next::Lines(lines) => drop(self.send(lines)?),
                Next::End(end) => return self.end(&end),
            }
            sent_at = Instant::now();
        }
    }

    fn end(&mut self, end: &RunEnd) -> Result<(), EndsEarly> {
        if let Some(uncompared) = &self.uncompared {
            log::warn!(
                "the tracker {}: {} lines from epoch {}, step {} on count as sent by an earlier process: their values are not known",
                self.name,
                uncompared.count,
                uncompared.first.epoch + 1,
                uncompared.first.step
            );
        }
        let _ = self.retried(|worker| worker.tracker.end(end))?;
        self.queue.note_told_of_end();
        self.note_sent();
        let _ = self.retried(|worker| worker.tracker.upload(end))?;
        self.note_sent();
        Ok(())
    }

    /// Starts the tracker where an earlier process of the run has stopped to send.
    fn start(&mut self) -> Result<(), EndsEarly> {
        let started = self.retried(|worker| {
            let stored = match worker.run.resumed_from {
                Some(_) => worker.file.read()?.unwrap_or_default(),
                // A file that is a user's is an error all the same.
                None => worker.file.read().map(|_| Default::default())?,
            };
            let start_at = worker.tracker.start(&worker.run, stored.state)?;
            worker.sent = match start_at {
                StartAt::FirstUnsent => stored.sent,
                StartAt::FirstLine => SentLines::default(),
            };
            Ok(())
        })?;
        started.map_err(EndsEarly::NotStarted)?;
        self.note_sent();
        Ok(())
    }

    /// Sends the lines from before the resume that the tracker does not have.
    fn send_those_before(&mut self) -> Result<(), EndsEarly> {
        let mut lines = Vec::new();
        let before = match self.run.logged_before() {
            Ok(before) => before,
            Err(error) => {
                self.report(&format!("it does not get the values from before the resume: {error}"));
                return Ok(());
            }
        };
        for line in before.filter_map(Result::ok) {
            match self.sent.compare(&line) {
                Compared::New => lines.push(line.clone()),
                // An earlier process could not send what it has logged with other settings. A log that is
                // written again from the history need not have the same lines.
                Compared::Other if self.run.written_again.is_none() => {
                    self.log(std::mem::take(&mut lines))?;
                    self.sent = self.logged.clone();
                    self.branch(&line)?;
                    lines.push(line.clone());
                }
                _ => {}
            }
            self.logged.note(&line);
            if lines.len() == MAX_BATCH {
                self.log(std::mem::take(&mut lines))?;
            }
        }
        self.log(lines).map(drop)
    }

    /// Sends lines for which the queue had no room, until it has the next ones.
    fn send_from_log(&mut self) -> Result<(), EndsEarly> {
        let mut log = match metrics_log::read(self.run.run_dir.join(METRICS_FILE)) {
            Ok(log) => log.filter_map(Result::ok),
            Err(error) => return self.wait_for_log(&error.to_string()),
        };
        let mut is_any = false;
        loop {
            let limit = self.queue.next_in_log();
            let lines: Vec<Line> = log.by_ref().filter(|line| !self.logged.reach(line)).take(limit).collect();
            if lines.is_empty() {
                return match is_any || limit == 0 {
                    true => Ok(()),
                    false => self.wait_for_log(&format!("{METRICS_FILE} does not have these lines")),
                };
            }
            is_any = true;
            self.queue.take_from_log(lines.len());
            if !self.send(lines)? {
                return Ok(());
            }
        }
    }

    /// The log's last lines are written some time after they are logged, or when the disk has room again.
    fn wait_for_log(&self, reason: &str) -> Result<(), EndsEarly> {
        self.queue.note_log_read();
        match self.queue.has_ended() || self.queue.pause(reason.to_owned(), INTERVAL) {
            true => Ok(()),
            false => Err(EndsEarly::TooLate),
        }
    }

    /// Sends the lines that were not sent yet. Returns whether those after them are next: not where the run
    /// left what was sent before them.
    fn send(&mut self, lines: Vec<Line>) -> Result<bool, EndsEarly> {
        let count = lines.len();
        let mut unsent = Vec::new();
        let mut branch = None;
        for (index, line) in lines.into_iter().enumerate() {
            if self.logged.reach(&line) {
                // It was read from the log.
                continue;
            }
            match (self.sent.compare(&line), self.uncompared.take()) {
                (Compared::New, uncompared) => {
                    self.uncompared = uncompared;
                    unsent.push(line.clone());
                }
                (Compared::Same, _) => {}
                (Compared::Forgotten, uncompared) => {
                    let first = || Uncompared { first: line.clone(), before: self.logged.clone(), count: 0 };
                    self.uncompared = uncompared.or_else(|| Some(first()));
                }
                (Compared::Other, Some(uncompared)) => {
                    // Lines since the first uncompared one may be others too.
                    let again = uncompared.count + count - index;
                    self.branch_before(uncompared, again)?;
                    return Ok(false);
                }
                (Compared::Other, None) => {
                    // All that follow are new.
                    self.sent = self.logged.clone();
                    branch.get_or_insert_with(|| line.clone());
                    unsent.push(line.clone());
                }
            }
            self.logged.note(&line);
            if let Some(uncompared) = &mut self.uncompared {
                uncompared.count += 1;
            }
        }
        if let Some(first) = branch {
            self.branch(&first)?;
        }
        let rejected = self.log(unsent)?;
        self.queue.done(rejected);
        Ok(true)
    }

    /// The run left what was sent at one of these lines, or before: they are read from the log, and sent.
    fn branch_before(&mut self, uncompared: Uncompared, count: usize) -> Result<(), EndsEarly> {
        (self.sent, self.logged) = (uncompared.before.clone(), uncompared.before);
        self.branch(&uncompared.first)?;
        self.queue.return_to_log(count);
        Ok(())
    }

    /// Tells the tracker, and the user, that the run logs other values than were sent.
    fn branch(&mut self, first: &Line) -> Result<(), EndsEarly> {
        warn(&format!(
            "the tracker {} was sent other values from epoch {}, step {} on by an earlier process: this run resumed from an \
             earlier checkpoint, or with other settings. It is sent the new ones too",
            self.name,
            first.epoch + 1,
            first.step
        ));
        let _ = self.retried(|worker| worker.tracker.branch(first))?;
        self.note_sent();
        Ok(())
    }

    fn log(&mut self, lines: Vec<Line>) -> Result<usize, EndsEarly> {
        if lines.is_empty() {
            return Ok(0);
        }
        let logged = self.retried(|worker| worker.tracker.log(&lines))?;
        lines.iter().for_each(|line| self.sent.note(line));
        self.note_sent();
        Ok(logged.map_or(lines.len(), |()| 0))
    }

    /// Writes down what was sent. It is tried again after the next lines.
    fn note_sent(&mut self) {
        // The run's directory may be another process's by now.
        if self.queue.is_too_late() {
            return;
        }
        if let Err(error) = self.file.write(&self.sent, self.tracker.state()) {
            self.report(&format!("{error}. After a resume it may get values twice"));
        }
    }

    /// Calls the tracker until it succeeds. The error is a permanent one.
    fn retried<R>(
        &mut self,
        mut call: impl FnMut(&mut Self) -> TrackerResult<R>,
    ) -> Result<Result<R, String>, EndsEarly> {
        let mut pause = RetryPause::default();
        let mut had_ended = self.queue.has_ended();
        loop {
            let error: TrackerError = match call(self) {
                Ok(value) => return Ok(Ok(value)),
                Err(error) => error,
            };
            let message = shortened(&error.to_string());
            if error.is_permanent {
                self.report(&format!("{message}. Training continues"));
                return Ok(Err(message));
            }
            self.report(&format!("{message}. Training continues, and values wait until it works"));
            if !self.queue.pause(message, pause.after_error()) {
                return Err(EndsEarly::TooLate);
            }
            if !had_ended && self.queue.has_ended() {
                // The end of the run, which waits, begins with short ones again.
                (had_ended, pause) = (true, RetryPause::default());
            }
        }
    }

    /// Warns, the first time.
    fn report(&mut self, message: &str) {
        match std::mem::replace(&mut self.has_reported, true) {
            false => warn(&format!("the tracker {}: {message}", self.name)),
            true => log::warn!("the tracker {}: {message}", self.name),
        }
    }
}

/// A message in one line of a length that can be read.
fn shortened(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= MAX_MESSAGE {
        return words;
    }
    words.chars().take(MAX_MESSAGE).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(shortened("two\nwords"), "two words");
        let text = shortened(&"x".repeat(5_000));
        assert!(text.len() == MAX_MESSAGE + 3 && text.ends_with("..."), "{text}");
    }
}
