//! What waits for a tracker's thread: a bounded queue of the newest lines, then how the run ended. Lines for
//! which it has no room are only counted, and those from before a resume: the thread reads them from the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use burn_ckpt::metrics_log::Line;
use parking_lot::{Condvar, Mutex};

use crate::callbacks::RunEnd;

/// Lines that [`Tracker::log`](super::Tracker::log) is given at once.
pub(super) const MAX_BATCH: usize = 1000;

/// The longest wait at the end of a run, which a clock can have.
const MAX_WAIT: Duration = Duration::from_hours(24 * 365);

/// The queue between the loop and a tracker's thread.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Lines from before the resume that are still to be sent. `None` where they are not counted.
    before: Option<usize>,
    /// Lines before those in the queue, which are in the log only.
    in_log: usize,
    lines: VecDeque<Line>,
    end: Option<RunEnd>,
    /// Until when the end of the run waits.
    deadline: Option<Instant>,
    /// Lines that the thread works on.
    in_work: usize,
    /// Whether the log has no more of the lines before those in the queue, after the run's end.
    is_log_read: bool,
    /// Lines that the tracker has rejected.
    rejected: usize,
    /// Whether the tracker was told of the run's end.
    was_told_of_end: bool,
    /// Whether the thread has ended, and with everything done.
    is_over: bool,
    has_finished: bool,
    last_error: Option<String>,
}

/// What the thread does next.
pub(super) enum Next {
    /// Reads lines from the log.
    ReadLog,
    Lines(Vec<Line>),
    End(RunEnd),
}

/// What did not arrive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    /// Lines that a resumed run sends.
    pub(super) waiting: usize,
    /// Whether there may be more of them, from before the resume, which are not counted.
    pub(super) has_uncounted: bool,
    pub(super) rejected: usize,
    pub(super) was_told_of_end: bool,
    /// Whether the tracker has done everything at the run's end.
    pub(super) has_finished: bool,
    pub(super) last_error: Option<String>,
}

impl Queue {
    /// An empty one. There can be lines from before a resume.
    pub(super) fn new(is_resumed: bool) -> Self {
        let before = if is_resumed { None } else { Some(0) };
        Self { state: Mutex::new(QueueState { before, ..QueueState::default() }), changed: Condvar::new() }
    }

    /// Adds lines. The oldest ones above a limit are left to the log.
    pub(super) fn push(&self, lines: &[Line], limit: usize) {
        let mut state = self.state.lock();
        state.lines.extend(lines.iter().cloned());
        let excess = (state.lines.len() + state.in_work).saturating_sub(limit).min(state.lines.len());
        state.lines.drain(..excess);
        state.in_log += excess;
        self.changed.notify_all();
    }

    /// The run has ended. Waits until the thread is done with everything, for a limited time.
    pub(super) fn end(&self, end: RunEnd, wait: Duration) -> Unsent {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let mut state = self.state.lock();
        (state.end, state.deadline) = (Some(end), Some(deadline));
        self.changed.notify_all();
        while !state.is_over && !self.changed.wait_until(&mut state, deadline).timed_out() {}
        Unsent {
            waiting: state.before.unwrap_or_default() + state.in_log + state.lines.len() + state.in_work,
            has_uncounted: state.before.is_none(),
            rejected: state.rejected,
            was_told_of_end: state.was_told_of_end,
            has_finished: state.has_finished,
            last_error: state.last_error.clone(),
        }
    }

    /// Waits for lines, and then for others to go with them: until this time, or the end of the run.
    pub(super) fn next(&self, not_before: Instant) -> Next {
        let mut state = self.state.lock();
        while state.lines.is_empty() && state.in_log == 0 && state.end.is_none() {
            self.changed.wait(&mut state);
        }
        while state.end.is_none()
            && state.lines.len() < MAX_BATCH
            && !self.changed.wait_until(&mut state, not_before).timed_out()
        {}
        if state.in_log > 0 && !state.is_log_read {
            return Next::ReadLog;
        }
        if state.lines.is_empty()
            && let Some(end) = state.end.take()
        {
            return Next::End(end);
        }
        let count = state.lines.len().min(MAX_BATCH);
        state.in_work = count;
        Next::Lines(state.lines.drain(..count).collect())
    }

    /// Whether there is more to send now.
    pub(super) fn has_more(&self) -> bool {
        let state = self.state.lock();
        state.in_log > 0 || !state.lines.is_empty()
    }

    /// So many lines from before the resume are to be sent. `None`: they are not counted.
    pub(super) fn set_before(&self, count: Option<usize>) {
        self.state.lock().before = count;
    }

    /// Whether the lines from before the resume are counted.
    pub(super) fn has_counted_before(&self) -> bool {
        self.state.lock().before.is_some()
    }

    /// So many lines from before the resume are done, this number of them rejected.
    pub(super) fn done_before(&self, count: usize, rejected: usize) {
        let mut state = self.state.lock();
        state.before = state.before.map(|before| before.saturating_sub(count));
        state.rejected += rejected;
        state.last_error = None;
    }

    /// How many of the lines that are in the log only the thread may work on next.
    pub(super) fn next_in_log(&self) -> usize {
        self.state.lock().in_log.min(MAX_BATCH)
    }

    /// The thread works on lines from the log.
    pub(super) fn take_from_log(&self, count: usize) {
        let mut state = self.state.lock();
        state.in_log = state.in_log.saturating_sub(count);
        state.in_work = count;
    }

    /// The log has no more lines for now. After the run's end it gets none.
    pub(super) fn note_log_read(&self) {
        let mut state = self.state.lock();
        state.is_log_read = state.deadline.is_some();
    }

    /// The last lines that the thread took, and others before them, are read from the log again.
    pub(super) fn return_to_log(&self, count: usize) {
        let mut state = self.state.lock();
        state.in_log += count;
        (state.in_work, state.is_log_read) = (0, false);
    }

    /// The tracker knows how the run ended.
    pub(super) fn note_told_of_end(&self) {
        self.state.lock().was_told_of_end = true;
    }

    /// The lines of the last [`next`](Self::next) are done. This number of them was rejected.
    pub(super) fn done(&self, rejected: usize) {
        let mut state = self.state.lock();
        state.in_work = 0;
        state.rejected += rejected;
        state.last_error = None;
    }

    /// Pauses after an error. Returns whether to try again: not when the time after the run's end is over.
    /// The end of the run ends the pause.
    pub(super) fn pause(&self, error: String, pause: Duration) -> bool {
        let mut state = self.state.lock();
        let until = Instant::now() + pause;
        let until = state.deadline.map_or(until, |deadline| until.min(deadline));
        state.last_error = Some(error);
        let had_ended = state.deadline.is_some();
        while state.deadline.is_some() == had_ended && !self.changed.wait_until(&mut state, until).timed_out()
        {
        }
        state.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Whether the time after the run's end is over: the run's directory is another process's then.
    pub(super) fn is_too_late(&self) -> bool {
        self.state.lock().deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the time after the run's end is over soon.
    pub(super) fn is_over_within(&self, time: Duration) -> bool {
        self.state.lock().deadline.is_some_and(|deadline| Instant::now() + time >= deadline)
    }

    /// Whether the run has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().deadline.is_some()
    }

    /// The thread ends: with everything done, or early, perhaps with an error.
    pub(super) fn finish(&self, has_finished: bool, error: Option<String>) {
        let mut state = self.state.lock();
        (state.is_over, state.has_finished) = (true, has_finished);
        state.last_error = error.or(state.last_error.take());
        self.changed.notify_all();
    }
}
