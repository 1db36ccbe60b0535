//! A tracker's thread: it starts the tracker, sends what was logged before a resume, then what is logged, and
//! tells it how the run ended. What fails is tried again. `from_log` has what is read from the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_ckpt::metrics_log::Line;
use burn_ckpt::plumbing::panic_message;
use serde_json::Value;

use super::queue::{Next, Queue};
use super::sent_lines::{Compared, SentLines};
use super::state_file::StateFile;
use super::tracker::{StartAt, Tracker, TrackerError, TrackerResult};
use crate::callbacks::{RunEnd, RunInfo};
use crate::process::console::warn;
use crate::retry_pause::RetryPause;

/// Lines wait this long for others, to be sent together. What was sent is written down once in this time.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Characters of an error that are shown.
const MAX_MESSAGE: usize = 500;

/// The tracker on its thread.
pub(super) struct Worker<T> {
    pub(super) tracker: T,
    name: String,
    pub(super) run: RunInfo,
    pub(super) queue: Arc<Queue>,
    file: StateFile,
    /// What the tracker has, of this process and earlier ones.
    pub(super) sent: SentLines,
    /// What the run has logged up to here, sent by whatever process.
    pub(super) logged: SentLines,
    uncompared: Option<Uncompared>,
    /// Whether the tracker writes files in the run's directory.
    pub(super) is_of_files: bool,
    /// When what was sent was written down, with which state of the tracker, and whether more was sent since.
    noted_at: Instant,
    noted_state: Option<Value>,
    is_unnoted: bool,
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
pub(super) enum EndsEarly {
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
            is_of_files: false,
            noted_at: Instant::now(),
            noted_state: None,
            is_unnoted: false,
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
            if !self.queue.has_more() {
                self.note_unnoted();
            }
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
        self.note_called();
        let _ = self.retried(|worker| worker.tracker.upload(end))?;
        self.note_called();
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
            // A server that does not answer lacks the lines after these, which are counted then.
            worker.sent = stored.sent;
            let start_at = worker.tracker.start(&worker.run, stored.state)?;
            if start_at != StartAt::FirstUnsent {
                worker.sent = SentLines::default();
                worker.forget_count();
            }
            if start_at == StartAt::FirstLineOfFile {
                (worker.sent, worker.logged) = (SentLines::without_values(), SentLines::without_values());
                worker.is_of_files = true;
            }
            Ok(())
        })?;
        started.map_err(EndsEarly::NotStarted)?;
        self.note_sent();
        if self.is_of_files {
            // It gets all of them, which can take longer than the end of the run waits.
            self.count_those_before();
        }
        Ok(())
    }

    /// Sends the lines that were not sent yet. Returns whether those after them are next: not where the run
    /// left what was sent before them.
    pub(super) fn send(&mut self, lines: Vec<Line>) -> Result<bool, EndsEarly> {
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
    pub(super) fn branch(&mut self, first: &Line) -> Result<(), EndsEarly> {
        warn(&format!(
            "the tracker {} was sent other values from epoch {}, step {} on by an earlier process: this run resumed from an \
             earlier checkpoint, or with other settings. It is sent the new ones too",
            self.name,
            first.epoch + 1,
            first.step
        ));
        let _ = self.retried(|worker| worker.tracker.branch(first))?;
        self.note_called();
        Ok(())
    }

    /// Returns how many lines were rejected.
    pub(super) fn log(&mut self, lines: Vec<Line>) -> Result<usize, EndsEarly> {
        if lines.is_empty() {
            return Ok(0);
        }
        let logged = self.retried(|worker| worker.tracker.log(&lines))?;
        lines.iter().for_each(|line| self.sent.note(line));
        self.note_logged();
        Ok(logged.map_or(lines.len(), |()| 0))
    }

    /// Writes down what was sent, not more than once a second.
    fn note_logged(&mut self) {
        self.is_unnoted |= self.is_to_note();
        // Later it cannot be written any more.
        if self.noted_at.elapsed() >= INTERVAL || self.queue.is_over_within(INTERVAL) {
            self.note_unnoted();
        }
    }

    /// Writes down what was sent and the tracker's state, after another call.
    fn note_called(&mut self) {
        self.is_unnoted |= self.is_to_note();
        self.note_unnoted();
    }

    /// Whether the next start needs to know what was sent. Files are written again, whatever they have.
    fn is_to_note(&self) -> bool {
        !self.is_of_files || self.tracker.state() != self.noted_state
    }

    /// Writes down what was sent since it was last written.
    pub(super) fn note_unnoted(&mut self) {
        if self.is_unnoted {
            self.note_sent();
        }
    }

    /// Writes down what was sent. It is tried again after the next lines.
    fn note_sent(&mut self) {
        // The run's directory may be another process's by now.
        if self.queue.is_too_late() {
            return;
        }
        (self.noted_at, self.is_unnoted) = (Instant::now(), false);
        self.noted_state = self.tracker.state();
        if let Err(error) = self.file.write(&self.sent, self.noted_state.clone()) {
            self.is_unnoted = true;
            self.report(&format!("{error}. After a resume it may get values twice"));
        }
    }

    /// Calls the tracker until it succeeds. The error is a permanent one.
    pub(super) fn retried<R>(
        &mut self,
        mut call: impl FnMut(&mut Self) -> TrackerResult<R>,
    ) -> Result<Result<R, String>, EndsEarly> {
        let mut pause = RetryPause::default();
        let mut had_ended = self.queue.has_ended();
        loop {
            // Files of the run's directory may be another process's by now.
            if self.is_of_files && self.queue.is_too_late() {
                return Err(EndsEarly::TooLate);
            }
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
            // The process can be killed before it works.
            self.note_unnoted();
            if !self.queue.has_counted_before() {
                self.count_those_before();
            }
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
    pub(super) fn report(&mut self, message: &str) {
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
