//! The training loop's side of saving: submits states to the writer's thread, takes its reports, and waits
//! for it at the end of a run.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::retention::ledger::Ledger;
use crate::retention::shared_ledger::SharedLedger;
use crate::save::activity::WriterActivity;
use crate::save::queue::Push;
use crate::save::request::{RunDescription, SaveReport, SaveRequest, Submitted, WhenBusy, WriterEnd};
use crate::save::writer_thread::apply_retention::apply;
use crate::save::writer_thread::{Shared, WriterThread};

/// How often [`CheckpointWriter::submit_while`] checks whether to keep waiting.
const POLL: Duration = Duration::from_millis(5);
/// How long the end of a run verifies checkpoints of earlier starts where it does not wait for all of them.
/// Runs that fail soon after each start would otherwise verify none, and so keep all.
const LAST_VERIFICATIONS: Duration = Duration::from_millis(200);

/// The writer's thread, and the queue to it.
pub struct CheckpointWriter {
    shared: Shared,
    reports: Receiver<SaveReport>,
    thread: Option<JoinHandle<()>>,
}

impl CheckpointWriter {
    /// Starts the thread. At most `max_waiting` states wait while it writes another; each keeps its copy of
    /// the state on the device. With 0, a state is accepted only when the one before it is written.
    ///
    /// First completes what a killed process left undone: moves links to what the ledger says, and removes
    /// files that no strategy keeps (unless the ledger [delays removals](Ledger::resume_from)).
    ///
    /// # Errors
    ///
    /// [`Error::WriterStopped`] when the thread cannot be started, [`Error::Io`] for a link or a file that
    /// cannot be changed.
    pub fn start(run: RunDescription, mut ledger: Ledger, max_waiting: usize) -> Result<Self> {
        let applied = apply(&ledger.apply_rules());
        ledger.note_removed(&applied.removed);
        if let Some(error) = applied.unmoved_link.or(applied.unremoved_file) {
            return Err(error);
        }
        let shared = Shared::new(SharedLedger::new(ledger), max_waiting);
        let (report_sender, reports) = mpsc::channel();
        let writing = WriterThread::new(run, shared.clone());
        let thread = std::thread::Builder::new()
            .name("burn-ckpt-writer".to_owned())
            .spawn(move || writing.run(&report_sender))
            .map_err(|source| Error::WriterStopped {
                reason: "its thread cannot be started".to_owned(),
                source: Some(source),
            })?;
        Ok(Self { shared, reports, thread: Some(thread) })
    }

    /// The run's ledger. It can outlive the writer.
    #[must_use]
    pub fn ledger(&self) -> &SharedLedger {
        &self.shared.ledger
    }

    /// A view of what the thread is doing, for another thread than the one that submits states.
    #[must_use]
    pub fn activity(&self) -> WriterActivity {
        let Shared { queue, reading, urgency, .. } = self.shared.clone();
        WriterActivity { queue, reading, urgency }
    }

    /// Submits a state: one save, or several in this order where the contents differ (whole states and
    /// weights alone).
    ///
    /// # Errors
    ///
    /// [`Error::WriterStopped`] when the thread has ended.
    pub fn submit(&self, state: Vec<SaveRequest>, when_busy: WhenBusy) -> Result<Submitted> {
        self.submit_while(state, when_busy, || when_busy != WhenBusy::Skip)
    }

    /// Submits a state, and waits for room while `keep_waiting` returns true. Then the state is skipped.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointWriter::submit`].
    pub fn submit_while(
        &self,
        mut state: Vec<SaveRequest>,
        when_busy: WhenBusy,
        mut keep_waiting: impl FnMut() -> bool,
    ) -> Result<Submitted> {
        let Shared { queue, ledger, urgency, .. } = &self.shared;
        let new = SaveRequest::paths(&state);
        let is_conditional = |state: &[SaveRequest]| state.iter().all(|save| save.conditional);
        let replaces = |waiting: &Vec<SaveRequest>| {
            is_conditional(waiting)
                || when_busy == WhenBusy::Replace
                    && ledger.lock().supersedes(&new, &SaveRequest::paths(waiting))
        };
        urgency.new_state();
        let mut waits = None;
        loop {
            match queue.push(state, replaces) {
                Push::Done => {
                    urgency.found_room();
                    return Ok(Submitted::Accepted);
                }
                Push::Replaced(waiting) => {
                    urgency.found_room();
                    ledger.lock().forget(&SaveRequest::paths(&waiting));
                    if is_conditional(&waiting) {
                        return Ok(Submitted::Accepted);
                    }
                    let step = waiting.first().map_or(0, |save| save.global_step);
                    return Ok(Submitted::Replaced(step));
                }
                Push::Abandoned => return Err(stopped()),
                Push::Full(back) if keep_waiting() => {
                    state = back;
                    waits.get_or_insert_with(|| urgency.wait_guard());
                    queue.wait(POLL);
                }
                Push::Full(_) => {
                    urgency.found_no_room();
                    ledger.lock().forget(&new);
                    return Ok(Submitted::Skipped);
                }
            }
        }
    }

    /// Submits a state, and waits for room at most for `wait`.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointWriter::submit`].
    pub fn try_submit(&self, state: Vec<SaveRequest>, wait: Duration) -> Result<Submitted> {
        self.shared.time_to_verify.set(Duration::ZERO);
        let start = Instant::now();
        self.submit_while(state, WhenBusy::Wait, || start.elapsed() < wait)
    }

    /// The reports of saves that ended since the last call. Does not wait.
    pub fn reports(&self) -> impl Iterator<Item = SaveReport> {
        self.reports.try_iter()
    }

    /// Waits until everything submitted is written, or the time is up. Without a limit, all checkpoints of
    /// earlier starts are verified then, with one as many as [`LAST_VERIFICATIONS`] is enough for.
    #[must_use]
    pub fn finish(mut self, wait: Option<Duration>) -> WriterEnd {
        if let Some(wait) = wait {
            self.shared.time_to_verify.set(LAST_VERIFICATIONS.min(wait / 2));
        }
        // First, so that the thread does not take the end for a loop that waits for room.
        self.shared.queue.close();
        self.shared.urgency.stay_urgent();
        // A time that the clock cannot express is as good as none.
        let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut reports = Vec::new();
        loop {
            let next = match deadline {
                None => self.reports.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            match next {
                Ok(report) => reports.push(report),
                Err(RecvTimeoutError::Timeout) => {
                    // The thread is not joined: it may hang in a device or a file system.
                    self.thread = None;
                    return WriterEnd { reports, is_complete: false, unmoved_link: None };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let unmoved_link = self.shared.unmoved_link.lock().take();
                    return WriterEnd { reports, is_complete: true, unmoved_link };
                }
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.urgency.stay_urgent();
        if let Some(thread) = self.thread.take() {
            // An error here says nothing new: panics of a save are caught in the thread and reported.
            let _ = thread.join();
        }
    }
}

fn stopped() -> Error {
    Error::WriterStopped { reason: "its thread has ended".to_owned(), source: None }
}
