//! The thread that writes checkpoints while training goes on.
//!
//! The loop hands over a state that nobody else changes. Here it becomes sections, these are persisted (see
//! `save.rs`), then the links move, then older files go. One state is being written, and at most
//! [so many](CheckpointWriter::start) wait. Every save is answered by a [`SaveReport`], the failed ones with their cause.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::commit::remove_checkpoint;
use crate::disk::directories::sync_directory_of;
use crate::disk::links;
use crate::disk::staged_file::Existing;
use crate::error::{Error, Result};
use crate::format::contents::Contents;
use crate::format::metadata::Metadata;
use crate::format::section::Section;
use crate::panics::panic_message;
use crate::retention::ledger::{Consequences, Ledger};
use crate::save::activity::WriterActivity;
use crate::save::low_priority;
use crate::save::persist::persist;
use crate::save::queue::{Push, Queue};
use crate::save::read_progress::ReadProgress;
use crate::save::request::{RunDescription, SaveReport, SaveRequest, Submitted, WhenBusy};

/// How often somebody who waits for room is asked whether to go on waiting.
const POLL: Duration = Duration::from_millis(5);

/// A [`Ledger`] that the loop and the writer's thread both use.
#[derive(Debug, Clone)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// The ledger, for the time the guard lives. Keep that short: the writer's thread may be waiting.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic in another thread while it held the ledger leaves it usable: each change is a single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's thread, and the queue to it.
pub struct CheckpointWriter {
    queue: Arc<Queue<Vec<SaveRequest>>>,
    reports: Receiver<SaveReport>,
    thread: Option<JoinHandle<()>>,
    ledger: SharedLedger,
    reading: Arc<ReadProgress>,
}

impl CheckpointWriter {
    /// Starts the thread, for which at most `max_waiting` states wait while it writes another. Each of them keeps its copy
    /// of the state on the device. With 0, a state is taken only when the one before it is written.
    ///
    /// What a kill kept from happening is made up for: links that do not lead to what the ledger
    /// holds, and (unless it [waits](Ledger::goes_on_from)) files that no strategy keeps any more.
    ///
    /// # Errors
    ///
    /// [`Error::WriterStopped`] when the system gives no thread, [`Error::Io`] for a link or a file that cannot be
    /// changed.
    pub fn start(run: RunDescription, mut ledger: Ledger, max_waiting: usize) -> Result<Self> {
        follow(&ledger.settle())?;
        let ledger = SharedLedger(Arc::new(Mutex::new(ledger)));
        let queue = Arc::new(Queue::new(max_waiting));
        let (answers, reports) = mpsc::channel();
        let reading = Arc::new(ReadProgress::default());
        let worker = Worker { run, ledger: ledger.clone(), reading: Arc::clone(&reading) };
        let taken_from = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("burn-ckpt-writer".to_owned())
            .spawn(move || worker.run(&taken_from, &answers))
            .map_err(|error| Error::WriterStopped(error.to_string()))?;
        Ok(Self { queue, reports, thread: Some(thread), ledger, reading })
    }

    /// The run's ledger, which can outlive the writer.
    #[must_use]
    pub fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }

    /// What its thread is doing, for somebody else than the one who hands states over.
    #[must_use]
    pub fn activity(&self) -> WriterActivity {
        WriterActivity { queue: Arc::clone(&self.queue), reading: Arc::clone(&self.reading) }
    }

    /// Hands over a state: one save, or several where what is written differs, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::WriterStopped`] when the thread is gone.
    pub fn submit(&self, state: Vec<SaveRequest>, when_busy: WhenBusy) -> Result<Submitted> {
        self.submit_while(state, when_busy, || when_busy != WhenBusy::Skip)
    }

    /// Hands over a state, waiting for room as long as `waits` says so; then it is let go.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointWriter::submit`].
    pub fn submit_while(
        &self,
        mut state: Vec<SaveRequest>,
        when_busy: WhenBusy,
        mut waits: impl FnMut() -> bool,
    ) -> Result<Submitted> {
        let new = SaveRequest::paths(&state);
        let replaces = |waiting: &Vec<SaveRequest>| {
            when_busy == WhenBusy::Replace
                && self.ledger.lock().supersedes(&new, &SaveRequest::paths(waiting))
        };
        loop {
            match self.queue.push(state, replaces) {
                Push::Done => return Ok(Submitted::Taken),
                Push::Replaced(waiting) => {
                    self.ledger.lock().forget(&SaveRequest::paths(&waiting));
                    let step = waiting.first().map_or(0, |save| save.global_step);
                    return Ok(Submitted::InPlaceOf(step));
                }
                Push::Abandoned => return Err(stopped()),
                Push::Full(back) if waits() => {
                    state = back;
                    self.queue.wait(POLL);
                }
                Push::Full(_) => {
                    self.ledger.lock().forget(&new);
                    return Ok(Submitted::LetGo);
                }
            }
        }
    }

    /// Waits for room for a limited time.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointWriter::submit`].
    pub fn try_submit(&self, state: Vec<SaveRequest>, wait: Duration) -> Result<Submitted> {
        let deadline = Instant::now() + wait;
        self.submit_while(state, WhenBusy::Wait, || Instant::now() < deadline)
    }

    /// The saves that ended since the last call. Does not wait.
    pub fn reports(&self) -> impl Iterator<Item = SaveReport> {
        self.reports.try_iter()
    }

    /// Waits until everything handed over is written, or the time is up, and returns the remaining reports
    /// with whether all is done.
    #[must_use]
    pub fn finish(mut self, wait: Option<Duration>) -> (Vec<SaveReport>, bool) {
        self.queue.close();
        let deadline = wait.map(|wait| Instant::now() + wait);
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
                    // The thread is left to itself: it may hang in a device or a file system.
                    self.thread = None;
                    return (reports, false);
                }
                Err(RecvTimeoutError::Disconnected) => return (reports, true),
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // Panics of a save are caught inside and reported; there is nothing left to learn from this one.
            let _ = thread.join();
        }
    }
}

struct Worker {
    run: RunDescription,
    ledger: SharedLedger,
    reading: Arc<ReadProgress>,
}

impl Worker {
    fn run(self, states: &Queue<Vec<SaveRequest>>, answers: &mpsc::Sender<SaveReport>) {
        for save in states.take_from().flatten() {
            let start = Instant::now();
            let (epoch, global_step) = (save.epoch, save.global_step);
            let reserved = SaveRequest::paths(std::slice::from_ref(&save));
            let mut paths = Vec::new();
            let urgent = save.urgent;
            let attempt = || {
                catch_unwind(AssertUnwindSafe(|| self.save(save, &mut paths))).unwrap_or_else(|panic| {
                    Err(Error::Snapshot(format!("a panic: {}", panic_message(&*panic))))
                })
            };
            self.reading.begins();
            let outcome = if urgent { attempt() } else { low_priority::giving_way(attempt) };
            self.reading.ends();
            // Whatever did not become durable gives its place back.
            self.ledger.lock().forget(&reserved);
            let report = SaveReport { epoch, global_step, paths, outcome, duration: start.elapsed() };
            if answers.send(report).is_err() {
                return;
            }
        }
    }

    fn save(&self, save: SaveRequest, done: &mut Vec<PathBuf>) -> Result<u64> {
        let contents = Contents {
            hparams: self.run.hparams.clone(),
            trainer_state: save.trainer_state,
            sections: (save.sections)()?,
        };
        let metadata = Metadata {
            run_id: self.run.run_id.clone(),
            name: self.run.name.clone(),
            project: self.run.project.clone(),
            checkpoint_timestamp: save.timestamp,
            start_timestamp: self.run.start_timestamp,
            epoch: save.epoch,
            global_step: save.global_step,
            training_time_seconds: save.training_time_seconds,
            metrics: save.metrics,
            trainer_config: self.run.trainer_config.clone(),
            hparams: self.run.hparams.clone(),
            environment: (self.run.environment)(),
            ..Metadata::blank(save.timestamp)
        };
        let resumable = contents.sections.contains_key(Section::OPTIMIZER);
        let persisted = persist(contents, metadata, &save.places, Existing::Keep, &self.reading, |path| {
            self.ledger.lock().confirm(path, resumable);
            done.push(path.to_path_buf());
        });
        // Also when a name failed: the others are there, and links lead to them.
        self.follow_up()?;
        persisted
    }

    /// Moves the links to the new checkpoints, then removes those that no strategy keeps.
    fn follow_up(&self) -> Result<()> {
        let consequences = self.ledger.lock().settle();
        follow(&consequences)
    }
}

/// Does what is to be done, all of it even where a part fails, and returns the first error. But no file goes while a
/// link that could not be moved leads to it.
fn follow(consequences: &Consequences) -> Result<()> {
    let mut failure = None;
    let mut stuck = Vec::new();
    for (link, target) in &consequences.links {
        if let Err(error) = links::point(link, target) {
            failure.get_or_insert(error);
            stuck.extend(std::fs::canonicalize(link));
        }
    }
    for path in &consequences.remove {
        if std::fs::canonicalize(path).is_ok_and(|path| stuck.contains(&path)) {
            continue;
        }
        if let Err(error) = remove_checkpoint(path).and_then(|()| sync_directory_of(path)) {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

fn stopped() -> Error {
    Error::WriterStopped("its thread has ended".to_owned())
}
