//! The thread that writes checkpoints while training continues.
//!
//! The loop submits a state that no other thread changes. The thread makes its sections, persists them
//! (`persist`), moves the links, and removes older files, in this order. One state is being written, and at
//! most `max_waiting` others wait. Every save ends with a [`SaveReport`]; that of a failed save has the
//! error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::disk::staged_file::Existing;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::format::contents::Contents;
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::section::Section;
use crate::panics::panic_message;
use crate::retention::ledger::Ledger;
use crate::retention::shared_ledger::SharedLedger;
use crate::save::activity::WriterActivity;
use crate::save::apply_retention::{Applied, apply};
use crate::save::persist::{Naming, persist};
use crate::save::queue::{Push, Queue};
use crate::save::read_progress::ReadProgress;
use crate::save::request::{RunDescription, SaveReport, SaveRequest, Submitted, WhenBusy, WriterEnd};
use crate::save::urgency::{Pace, Urgency};
use crate::save::verify_earlier::{TimeLeft, Verifier};

/// How often [`CheckpointWriter::submit_while`] checks whether to keep waiting.
const POLL: Duration = Duration::from_millis(5);

/// The writer's thread, and the queue to it.
pub struct CheckpointWriter {
    queue: Arc<States>,
    reports: Receiver<SaveReport>,
    thread: Option<JoinHandle<()>>,
    ledger: SharedLedger,
    reading: Arc<ReadProgress>,
    urgency: Arc<Urgency>,
    unmoved_link: UnmovedLink,
    /// Until when checkpoints of earlier starts may be verified.
    time_to_verify: Arc<TimeLeft>,
}

/// The states that wait for the thread.
type States = Queue<Vec<SaveRequest>>;
/// Why a link does not lead to the checkpoint that it should, at present.
type UnmovedLink = Arc<Mutex<Option<Error>>>;

/// How long the end of a run verifies checkpoints of earlier starts where it does not wait for all of them.
/// Runs that fail soon after each start would otherwise verify none, and so keep all.
const LAST_VERIFICATIONS: Duration = Duration::from_millis(200);
/// How long the loop, and the last save of a run, wait for verifications on which a save depends.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
        let ledger = SharedLedger::new(ledger);
        let queue = Arc::new(Queue::new(max_waiting));
        let (report_sender, reports) = mpsc::channel();
        let reading = Arc::new(ReadProgress::default());
        let urgency = Arc::new(Urgency::default());
        let unmoved_link = UnmovedLink::default();
        let time_to_verify = Arc::new(TimeLeft::default());
        let verifier = Verifier::new(Arc::clone(&time_to_verify), Arc::clone(&urgency));
        let worker = Worker {
            naming: Naming::new(Existing::Keep, run.staging_owner.clone()),
            run,
            ledger: ledger.clone(),
            reading: Arc::clone(&reading),
            urgency: Arc::clone(&urgency),
            unmoved_link: Arc::clone(&unmoved_link),
            verifier,
            a_link_is_behind: false,
        };
        let states = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("burn-ckpt-writer".to_owned())
            .spawn(move || worker.run(&states, &report_sender))
            .map_err(|source| Error::WriterStopped {
                reason: "its thread cannot be started".to_owned(),
                source: Some(source),
            })?;
        let thread = Some(thread);
        Ok(Self { queue, reports, thread, ledger, reading, urgency, unmoved_link, time_to_verify })
    }

    /// The run's ledger. It can outlive the writer.
    #[must_use]
    pub fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }

    /// A view of what the thread is doing, for another thread than the one that submits states.
    #[must_use]
    pub fn activity(&self) -> WriterActivity {
        let (queue, reading) = (Arc::clone(&self.queue), Arc::clone(&self.reading));
        WriterActivity { queue, reading, urgency: Arc::clone(&self.urgency) }
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
        let new = SaveRequest::paths(&state);
        let is_conditional = |state: &[SaveRequest]| state.iter().all(|save| save.conditional);
        let replaces = |waiting: &Vec<SaveRequest>| {
            is_conditional(waiting)
                || when_busy == WhenBusy::Replace
                    && self.ledger.lock().supersedes(&new, &SaveRequest::paths(waiting))
        };
        self.urgency.new_state();
        let mut waits = None;
        loop {
            match self.queue.push(state, replaces) {
                Push::Done => {
                    self.urgency.found_room();
                    return Ok(Submitted::Accepted);
                }
                Push::Replaced(waiting) => {
                    self.urgency.found_room();
                    self.ledger.lock().forget(&SaveRequest::paths(&waiting));
                    if is_conditional(&waiting) {
                        return Ok(Submitted::Accepted);
                    }
                    let step = waiting.first().map_or(0, |save| save.global_step);
                    return Ok(Submitted::Replaced(step));
                }
                Push::Abandoned => return Err(stopped()),
                Push::Full(back) if keep_waiting() => {
                    state = back;
                    waits.get_or_insert_with(|| self.urgency.wait_guard());
                    self.queue.wait(POLL);
                }
                Push::Full(_) => {
                    self.urgency.found_no_room();
                    self.ledger.lock().forget(&new);
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
        self.time_to_verify.set(Duration::ZERO);
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
            self.time_to_verify.set(LAST_VERIFICATIONS.min(wait / 2));
        }
        // First, so that the thread does not take the end for a loop that waits for room.
        self.queue.close();
        self.urgency.stay_urgent();
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
                    let unmoved_link = self.unmoved_link.lock().take();
                    return WriterEnd { reports, is_complete: true, unmoved_link };
                }
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.queue.close();
        self.urgency.stay_urgent();
        if let Some(thread) = self.thread.take() {
            // An error here says nothing new: panics of a save are caught in the thread and reported.
            let _ = thread.join();
        }
    }
}

struct Worker {
    run: RunDescription,
    naming: Naming,
    ledger: SharedLedger,
    reading: Arc<ReadProgress>,
    urgency: Arc<Urgency>,
    unmoved_link: UnmovedLink,
    verifier: Verifier,
    /// Whether a link does not lead to the checkpoint that it should.
    a_link_is_behind: bool,
}

impl Worker {
    fn run(mut self, states: &States, reports: &mpsc::Sender<SaveReport>) {
        let mut items = states.items();
        loop {
            while items.has_time() && self.verify_next(&|| states.needs_its_thread()) {}
            let Some(saves) = items.next() else { break };
            for save in saves {
                let report = self.save_and_report(save, states);
                if reports.send(report).is_err() {
                    return;
                }
            }
        }
        self.verifier.hurry();
        while self.verify_next(&|| false) {}
        if self.a_link_is_behind {
            *self.unmoved_link.lock() = self.apply_rules().unmoved_link;
        }
    }

    /// Verifies a checkpoint of an earlier start, unless it has to give way. After the last one the rules
    /// apply to all. Returns whether one was verified.
    fn verify_next(&mut self, gives_way: &(dyn Fn() -> bool + Sync)) -> bool {
        let next = self.ledger.lock().next_unverified();
        let Some((path, files)) = next.filter(|_| !self.verifier.is_stopped()) else { return false };
        let Some(outcome) = self.verifier.verify(&path, &files, gives_way) else { return false };
        let is_last = {
            let mut ledger = self.ledger.lock();
            ledger.note_verified(&path, outcome);
            ledger.next_unverified().is_none()
        };
        if is_last {
            let Applied { unmoved_link, unremoved_file, .. } = self.apply_rules();
            self.a_link_is_behind = unmoved_link.is_some();
            if let Some(error) = unmoved_link.or(unremoved_file) {
                log::warn!("{}; it is tried again with the next save", chain(&error));
            }
        }
        true
    }

    /// Verifies the checkpoints of earlier starts that decide whether a strategy keeps the state under one of
    /// these paths, for a limited time. What is written without them goes when they are done.
    fn verify_what_decides(&mut self, reserved: &[PathBuf], is_last: bool, states: &States) {
        let (start, urgency) = (Instant::now(), Arc::clone(&self.urgency));
        if is_last {
            self.verifier.hurry();
        }
        let holds_up = || match is_last {
            // The queue is closed soon. A kill must not lose the last state while much is read.
            true => start.elapsed() >= LONGEST_WAIT,
            false => states.is_open() && urgency.holds_up_for(LONGEST_WAIT),
        };
        let depends = |ledger: &SharedLedger| {
            let ledger = ledger.lock();
            reserved.iter().any(|path| ledger.depends_on_unverified(path))
        };
        while depends(&self.ledger) && self.verify_next(&holds_up) {}
    }

    fn save_and_report(&mut self, mut save: SaveRequest, states: &States) -> SaveReport {
        let start = Instant::now();
        let (epoch, global_step) = (save.epoch, save.global_step);
        let reserved = SaveRequest::paths(std::slice::from_ref(&save));
        self.verify_what_decides(&reserved, save.urgent, states);
        let superseded = self.drop_superseded(&mut save);
        let mut written = Written::default();
        let (urgent, is_left) = (save.urgent, !save.places.is_empty());
        let (mut follow_up, mut a_link_is_behind) = (None, self.a_link_is_behind);
        let attempt = |pace: &Arc<Pace>| {
            catch_unwind(AssertUnwindSafe(|| {
                let saved = self.save(save, pace, &mut written);
                // Also when a name failed, as links must lead to the names that did not.
                let Applied { unmoved_link, unremoved_file, .. } = self.apply_rules();
                a_link_is_behind = unmoved_link.is_some();
                follow_up = unmoved_link.or(unremoved_file);
                saved
            }))
            .unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic) }))
        };
        self.reading.start();
        let outcome = if is_left { attempt(&self.urgency.begin(urgent)) } else { Ok(0) };
        self.urgency.end();
        self.reading.finish();
        self.a_link_is_behind = a_link_is_behind;
        // The reservations of names that did not become durable.
        self.ledger.lock().forget(&reserved);
        let duration = start.elapsed();
        let Written { paths, non_finite } = written;
        SaveReport { epoch, global_step, paths, outcome, non_finite, follow_up, superseded, duration }
    }

    /// First the links, then the removals.
    fn apply_rules(&self) -> Applied {
        let changes = self.ledger.lock().apply_rules();
        let applied = apply(&changes);
        self.ledger.lock().note_removed(&applied.removed);
        applied
    }

    /// Drops the files of strategies that have got better states since they were reserved, and returns them.
    fn drop_superseded(&self, save: &mut SaveRequest) -> Vec<PathBuf> {
        let ledger = self.ledger.lock();
        let dropped = save.places.extract_if(.., |(path, _)| !ledger.is_still_wanted(path));
        dropped.map(|(path, _)| path).collect()
    }

    fn save(&self, save: SaveRequest, pace: &Arc<Pace>, written: &mut Written) -> Result<u64> {
        let paths: Vec<PathBuf> = save.places.iter().map(|(path, _)| path.clone()).collect();
        (self.run.make_durable)();
        let metadata = self.run.metadata_of(&save);
        let contents = Contents {
            hparams: self.run.hparams.clone(),
            trainer_state: (save.trainer_state)(&paths),
            sections: (save.sections)()?,
            limits: self.run.limits,
        };
        let resumable = contents.sections.contains_key(Section::OPTIMIZER);
        persist(contents, metadata, &save.places, &self.naming, &self.reading, pace, |path, metadata| {
            written.non_finite = metadata.found_non_finite().cloned();
            match written.non_finite {
                None => self.ledger.lock().confirm(path, resumable),
                Some(_) => self.ledger.lock().confirm_non_finite(path),
            }
            written.paths.push(path.to_path_buf());
        })
    }
}

/// What of a save is durable.
#[derive(Default)]
struct Written {
    paths: Vec<PathBuf>,
    non_finite: Option<NonFiniteTensors>,
}

fn stopped() -> Error {
    Error::WriterStopped { reason: "its thread has ended".to_owned(), source: None }
}
