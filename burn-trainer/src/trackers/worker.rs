//! A tracker's thread: it starts the tracker, sends what was logged before a resume, then what is logged, and
//! tells it how the run ended. What fails is tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_ckpt::metrics_log::Line;
use burn_ckpt::plumbing::panic_message;

use super::queue::{MAX_BATCH, Next, Queue};
use super::sent_lines::SentLines;
use super::state_file::StateFile;
use super::tracker::{StartAt, Tracker, TrackerError, TrackerResult};
use crate::callbacks::RunInfo;
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
    sent: SentLines,
    /// What it would have been sent if this process had sent everything.
    passed: SentLines,
    has_reported: bool,
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
            passed: SentLines::default(),
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
                Next::Lines(lines) => {
                    let rejected = self.send(lines)?;
                    self.queue.done(rejected);
                    sent_at = Instant::now();
                }
                Next::End(end) => {
                    let _ = self.retried(|worker| worker.tracker.end(&end))?;
                    return Ok(());
                }
            }
        }
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
            self.passed.note(&line);
            if !self.sent.has(&line) {
                lines.push(line);
            }
            if lines.len() == MAX_BATCH {
                self.log(std::mem::take(&mut lines))?;
            }
        }
        self.log(lines).map(drop)
    }

    /// Sends the lines that were not sent yet. Returns how many the tracker has rejected.
    fn send(&mut self, mut lines: Vec<Line>) -> Result<usize, EndsEarly> {
        let mut branch = None;
        lines.retain(|line| {
            let is_at_a_sent_place = self.sent.has(line);
            let is_sent = is_at_a_sent_place && self.sent.knows(line);
            if is_at_a_sent_place && !is_sent {
                // All that follow are new.
                self.sent = self.passed.clone();
                branch.get_or_insert_with(|| line.clone());
            }
            self.passed.note(line);
            !is_sent
        });
        if let Some(first) = branch {
            self.branch(&first)?;
        }
        self.log(lines)
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
        self.retried(|worker| worker.tracker.branch(first)).map(drop)
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
