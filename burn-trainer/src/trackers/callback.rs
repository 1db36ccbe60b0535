//! A tracker as a callback: it passes on what is logged, and waits for the tracker at the end of the run.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use burn::train::LearnerModel;
use burn_ckpt::metrics_log::{Line, METRICS_FILE};

use super::queue::{Queue, Unsent};
use super::tracker::Tracker;
use super::worker::Worker;
use crate::callbacks::{Callback, CallbackContext, CallbackResult};
use crate::process::console::warn;
use crate::process::run_output::OutputHandle;

/// How long the end of a run waits for a tracker.
const WAIT_AT_END: Duration = Duration::from_secs(10);
/// Lines that wait for a tracker in memory at most: some 30 MB.
const MAX_WAITING: usize = 65_536;

/// A tracker as a callback. [`Trainer::tracker`](crate::Trainer::tracker) makes one; make one yourself to set
/// how long the end of the run waits for it.
///
/// It is not called in a fast dev run, and in processes that do not write the run's files.
///
/// ```
/// # use burn_ckpt::metrics_log::Line;
/// # use burn_trainer::trackers::{Tracker, TrackerCallback, TrackerResult};
/// # struct Print;
/// # impl Tracker for Print {
/// #     fn name(&self) -> String { "print".to_owned() }
/// #     fn log(&mut self, _: &[Line]) -> TrackerResult { Ok(()) }
/// # }
/// use std::time::Duration;
///
/// let callback = TrackerCallback::new(Print).with_wait_at_end(Duration::from_secs(60)); // for `Trainer::callback`
/// ```
pub struct TrackerCallback<T> {
    name: String,
    /// Until the run begins.
    tracker: Option<T>,
    /// Once it has begun.
    queue: Option<Arc<Queue>>,
    wait_at_end: Duration,
    max_waiting: usize,
}

impl<T: Tracker> TrackerCallback<T> {
    /// With a wait of at most 10 seconds at the end of the run.
    pub fn new(tracker: T) -> Self {
        let name = tracker.name();
        Self { name, tracker: Some(tracker), queue: None, wait_at_end: WAIT_AT_END, max_waiting: MAX_WAITING }
    }

    /// Sets how long the end of the run waits until everything is sent. What is not sent then is said, and a
    /// start that resumes the run sends it. A tracker for a server is still called after that, as long as the
    /// program lives, and one for files is not.
    #[must_use]
    pub fn with_wait_at_end(self, wait_at_end: Duration) -> Self {
        Self { wait_at_end, ..self }
    }

    /// Sets how many lines wait in memory at most while the tracker is slower than training. Those before
    /// them are read from the run's log when the tracker comes to them.
    #[must_use]
    pub fn with_max_waiting(self, max_waiting: usize) -> Self {
        Self { max_waiting, ..self }
    }
}

impl<T> fmt::Debug for TrackerCallback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackerCallback").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<M: LearnerModel, T: Tracker> Callback<M> for TrackerCallback<T> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let run = context.run();
        let Some(tracker) = self.tracker.take().filter(|_| run.writes && !run.is_fast_dev_run) else {
            return Ok(());
        };
        let queue = Arc::new(Queue::new(run.resumed_from.is_some()));
        let worker = Worker::new(tracker, run.clone(), Arc::clone(&queue));
        let thread = thread::Builder::new().name(format!("tracker {}", self.name));
        // Its lines are those of this run.
        let output = OutputHandle::of_this_thread();
        let work = move || {
            output.set_for_thread();
            worker.run();
        };
        match thread.spawn(work) {
            Ok(_) => self.queue = Some(queue),
            Err(error) => {
                warn(&format!("the tracker {} has no thread: {error}. Training continues", self.name))
            }
        }
        Ok(())
    }

    fn on_logged(&mut self, _: &mut CallbackContext<'_, M>, lines: &[Line]) -> CallbackResult {
        if let Some(queue) = &self.queue {
            queue.push(lines, self.max_waiting);
        }
        Ok(())
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if let (Some(queue), Some(end)) = (self.queue.take(), context.ended()) {
            // Writes the log's last lines, which the tracker may read.
            let log_is_whole = context.log_is_whole();
            let unsent = queue.end(end.clone(), self.wait_at_end);
            unsent
                .warnings(&self.name, self.wait_at_end, log_is_whole)
                .iter()
                .for_each(|warning| warn(warning));
        }
        Ok(())
    }
}

impl Unsent {
    /// Says what did not arrive.
    fn warnings(&self, name: &str, waited: Duration, log_is_whole: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let lines = |count: usize| format!("{count} line{} of values", if count == 1 { "" } else { "s" });
        let because = match &self.last_error {
            Some(error) => format!(": {error}"),
            None if waited.is_zero() => String::new(),
            None => format!(": it took longer than {waited:?}"),
        };
        let place = match log_is_whole {
            true => format!("They are in {METRICS_FILE}"),
            false => format!("{METRICS_FILE} is incomplete: it has those that could be written"),
        };
        let sends = match log_is_whole {
            true => "a start that resumes the run sends them",
            false => "a start that resumes the run sends these",
        };
        // Where the end came before its thread has counted them.
        let uncounted = if self.has_uncounted { ", and perhaps others from before the resume" } else { "" };
        if self.waiting > 0 && waited.is_zero() && self.last_error.is_none() {
            // It may still get them, as long as the program lives.
            warnings.push(format!(
                "the tracker {name} had {}{uncounted} to get when the run ended, which does not wait for it (its wait is 0). \
                 {place}, and {sends} if it did not get them",
                lines(self.waiting)
            ));
        } else if self.waiting > 0 {
            warnings.push(format!(
                "the tracker {name} did not get {}{uncounted}{because}. {place}, and {sends}",
                lines(self.waiting)
            ));
        } else if !self.has_finished && waited.is_zero() && self.last_error.is_none() {
            log::debug!("the tracker {name} was not waited for");
        } else if !self.has_finished {
            let untold = match self.was_told_of_end {
                true => "was told that the run has ended, but did not get all of its files",
                false => "was not told that the run has ended",
            };
            let more = match self.last_error {
                Some(_) => "",
                None => ". Have it wait longer: trackers_wait_seconds, or TrackerCallback::with_wait_at_end",
            };
            let lacks =
                if self.has_uncounted { ", and may not have all lines from before the resume" } else { "" };
            warnings.push(format!("the tracker {name} {untold}{lacks}{because}{more}"));
        }
        if self.rejected > 0 {
            warnings.push(format!("the tracker {name} has rejected {}", lines(self.rejected)));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_arrive_is_said_with_its_number_and_its_reason() {
        let unsent = Unsent {
            waiting: 0,
            has_uncounted: false,
            rejected: 0,
            was_told_of_end: true,
            has_finished: true,
            last_error: None,
        };
        let warnings = |unsent: &Unsent| unsent.warnings("t", Duration::from_secs(10), true).join("\n");
        assert_eq!(warnings(&unsent), "");
        let late = Unsent { waiting: 3, was_told_of_end: false, has_finished: false, ..unsent };
        assert!(
            warnings(&late).contains("3 lines of values: it took longer than 10s"),
            "{}",
            warnings(&late)
        );
        let failed =
            Unsent { waiting: 1, last_error: Some("refused".to_owned()), has_finished: false, ..unsent };
        assert!(warnings(&failed).contains("1 line of values: refused."), "{}", warnings(&failed));
        let incomplete = failed.warnings("t", Duration::from_secs(10), false).join("\n");
        assert!(
            incomplete.contains("metrics.jsonl is incomplete") && !incomplete.contains("They are"),
            "{incomplete}"
        );
        let unwaited = late.warnings("t", Duration::ZERO, true).join("\n");
        assert!(unwaited.contains("had 3 lines of values to get when the run ended"), "{unwaited}");
        assert!(!unwaited.contains("took longer") && !unwaited.contains("did not get 3"), "{unwaited}");
        let uncounted = Unsent { has_uncounted: true, last_error: None, ..late };
        let text = warnings(&uncounted);
        assert!(text.contains("3 lines of values, and perhaps others from before the resume: it"), "{text}");
        let text = warnings(&Unsent { waiting: 0, last_error: None, ..uncounted });
        assert!(text.contains("may not have all lines from before the resume: it took"), "{text}");
        let slow = Unsent { rejected: 4, last_error: None, ..unsent };
        assert_eq!(warnings(&slow), "the tracker t has rejected 4 lines of values");
        for (was_told_of_end, said) in [
            (false, "the tracker t was not told that the run has ended"),
            (true, "the tracker t was told that the run has ended, but did not get all of its files"),
        ] {
            let late = Unsent { rejected: 0, was_told_of_end, has_finished: false, last_error: None, ..slow };
            let text = warnings(&late);
            assert!(text.starts_with(&format!("{said}: it took longer than 10s. Have")), "{text}");
            assert!(text.contains("trackers_wait_seconds") && text.contains("with_wait_at_end"), "{text}");
            let failed = Unsent { last_error: Some("refused".to_owned()), ..late };
            assert_eq!(warnings(&failed), format!("{said}: refused"));
        }
    }
}
