//! The thread that writes checkpoints while training continues.
//!
//! The loop submits a state that no other thread changes. The thread makes its sections, persists them
//! (`persist`), moves the links, and removes older files, in this order. One state is being written, and at
//! most `max_waiting` others wait. Every save ends with a [`SaveReport`]; that of a failed save has the
//! error. While no state waits, it verifies the checkpoints of earlier starts.

pub(super) mod apply_retention;
mod verify_earlier;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::apply_retention::{RetentionOutcome, apply};
use self::verify_earlier::{TimeLeft, Verifier};
use crate::disk::staged_file::Existing;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::format::contents::Contents;
use crate::format::metadata::Metadata;
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::section::Section;
use crate::panics::panic_message;
use crate::retention::shared_ledger::SharedLedger;
use crate::save::persist::{Names, Naming, persist};
use crate::save::queue::Queue;
use crate::save::read_progress::ReadProgress;
use crate::save::request::{RunDescription, SaveReport, SaveRequest, SavedPath};
use crate::save::urgency::{Pace, Urgency};

/// How long the loop, and the last save of a run, wait for verifications on which a save depends.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the thread and the loop's side of it both use.
#[derive(Clone)]
pub(super) struct Shared {
    /// The states that wait for the thread.
    pub(super) queue: Arc<Queue<Vec<SaveRequest>>>,
    pub(super) ledger: SharedLedger,
    pub(super) reading: Arc<ReadProgress>,
    pub(super) urgency: Arc<Urgency>,
    /// Why a link does not lead to the checkpoint that it should, when the thread has ended.
    pub(super) unmoved_link: Arc<Mutex<Option<Error>>>,
    /// Until when checkpoints of earlier starts may be verified.
    pub(super) time_to_verify: Arc<TimeLeft>,
}

impl Shared {
    pub(super) fn new(ledger: SharedLedger, max_waiting: usize) -> Self {
        Self {
            queue: Arc::new(Queue::new(max_waiting)),
            ledger,
            reading: Arc::default(),
            urgency: Arc::default(),
            unmoved_link: Arc::default(),
            time_to_verify: Arc::default(),
        }
    }
}

/// What the thread works with.
pub(super) struct WriterThread {
    run: RunDescription,
    naming: Naming,
    shared: Shared,
    verifier: Verifier,
    /// Whether a link does not lead to the checkpoint that it should.
    a_link_is_behind: bool,
}

impl WriterThread {
    pub(super) fn new(run: RunDescription, shared: Shared) -> Self {
        Self {
            naming: Naming::new(Existing::Keep, run.staging_owner.clone()),
            run,
            verifier: Verifier::new(Arc::clone(&shared.time_to_verify), Arc::clone(&shared.urgency)),
            shared,
            a_link_is_behind: false,
        }
    }

    /// Writes what is in the queue, until the queue is closed or nothing receives the reports.
    pub(super) fn run(mut self, reports: &Sender<SaveReport>) {
        let states = Arc::clone(&self.shared.queue);
        let mut items = states.items();
        loop {
            while items.has_time() && self.verify_next(&|| states.needs_its_thread()) {}
            let Some(saves) = items.next() else { break };
            for save in saves {
                let report = self.save_and_report(save);
                if reports.send(report).is_err() {
                    return;
                }
            }
        }
        self.verifier.hurry();
        self.shared.ledger.lock().retry_unread();
        while self.verify_next(&|| false) {}
        if self.a_link_is_behind {
            *self.shared.unmoved_link.lock() = self.apply_rules().unmoved_link;
        }
    }

    /// Verifies a checkpoint of an earlier start, unless it has to give way. After the last one the rules
    /// apply to all. Returns whether one was verified, or could not be read.
    fn verify_next(&mut self, gives_way: &(dyn Fn() -> bool + Sync)) -> bool {
        let next = self.shared.ledger.lock().next_unverified();
        let Some((path, files)) = next.filter(|_| !self.verifier.is_stopped()) else { return false };
        let Some(outcome) = self.verifier.verify(&path, &files, gives_way) else { return false };
        let is_last = {
            let mut ledger = self.shared.ledger.lock();
            ledger.note_verified(&path, outcome);
            ledger.next_unverified().is_none()
        };
        if is_last {
            let RetentionOutcome { unmoved_link, unremoved_file, .. } = self.apply_rules();
            self.a_link_is_behind = unmoved_link.is_some();
            if let Some(error) = unmoved_link.or(unremoved_file) {
                log::warn!("{}; it is tried again with the next save", chain(&error));
            }
        }
        true
    }

    /// Verifies the checkpoints of earlier starts that decide whether a strategy keeps this state, for a
    /// limited time. What is written without them goes when they are done.
    fn verify_what_decides(&mut self, save: &SaveRequest) {
        let start = Instant::now();
        let Shared { queue, ledger, urgency, .. } = self.shared.clone();
        let is_last = save.urgent;
        if is_last {
            self.verifier.hurry();
        }
        let holds_up = || match is_last {
            // The queue is closed soon. A kill must not lose the last state while much is read.
            true => start.elapsed() >= LONGEST_WAIT,
            false => queue.is_open() && urgency.holds_up_for(LONGEST_WAIT),
        };
        let depends = || {
            let ledger = ledger.lock();
            save.places.iter().any(|(path, _)| ledger.depends_on_unverified(path))
        };
        while depends() && self.verify_next(&holds_up) {}
    }

    fn save_and_report(&mut self, mut save: SaveRequest) -> SaveReport {
        let start = Instant::now();
        let (epoch, global_step, metrics) = (save.epoch, save.global_step, save.metrics.clone());
        let reserved = SaveRequest::paths(std::slice::from_ref(&save));
        self.verify_what_decides(&save);
        let superseded = self.drop_superseded(&mut save);
        let mut written = DurableNames::default();
        let (urgent, is_left) = (save.urgent, !save.places.is_empty());
        let (mut follow_up, mut a_link_is_behind) = (None, self.a_link_is_behind);
        let attempt = |pace: &Arc<Pace>| {
            catch_unwind(AssertUnwindSafe(|| {
                let saved = self.save(save, pace, &mut written);
                // Also when a name failed, as links must lead to the names that did not.
                let RetentionOutcome { unmoved_link, unremoved_file, .. } = self.apply_rules();
                a_link_is_behind = unmoved_link.is_some();
                follow_up = unmoved_link.or(unremoved_file);
                saved
            }))
            .unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic) }))
        };
        self.shared.reading.start();
        let outcome = if is_left { attempt(&self.shared.urgency.begin(urgent)) } else { Ok(()) };
        self.shared.urgency.end();
        self.shared.reading.finish();
        self.a_link_is_behind = a_link_is_behind;
        let mut ledger = self.shared.ledger.lock();
        let names =
            reserved.into_iter().map(|reserved| SavedPath { path: ledger.name_of(&reserved), reserved });
        let names: Vec<SavedPath> = names.collect();
        // The reservations of names that did not become durable.
        ledger.forget(&names.iter().map(|name| name.path.clone()).collect::<Vec<_>>());
        // Some time has passed.
        ledger.retry_unread();
        drop(ledger);
        let duration = start.elapsed();
        let DurableNames { paths, checksum, size_bytes, non_finite } = written;
        SaveReport {
            epoch,
            global_step,
            paths,
            renamed: names.into_iter().filter(|name| name.path != name.reserved).collect(),
            metrics,
            checksum,
            size_bytes,
            outcome,
            non_finite,
            follow_up,
            superseded,
            duration,
        }
    }

    /// First the links, then the removals.
    fn apply_rules(&self) -> RetentionOutcome {
        let changes = self.shared.ledger.lock().apply_rules();
        let applied = apply(&changes);
        self.shared.ledger.lock().note_removed(&applied.removed);
        applied
    }

    /// Drops the files of strategies that have got better states since they were reserved, and returns them.
    fn drop_superseded(&self, save: &mut SaveRequest) -> Vec<PathBuf> {
        let ledger = self.shared.ledger.lock();
        let dropped = save.places.extract_if(.., |(path, _)| !ledger.is_still_wanted(path));
        dropped.map(|(path, _)| path).collect()
    }

    fn save(&self, save: SaveRequest, pace: &Arc<Pace>, written: &mut DurableNames) -> Result<()> {
        let own = |path: &PathBuf| SavedPath { reserved: path.clone(), path: path.clone() };
        let mut names: Vec<SavedPath> = save.places.iter().map(|(path, _)| own(path)).collect();
        (self.run.make_durable)();
        let metadata = self.run.metadata_of(&save);
        let contents = Contents {
            hparams: self.run.hparams.clone(),
            trainer_state: (save.trainer_state)(&names),
            sections: (save.sections)()?,
            limits: self.run.limits,
        };
        let resumable = contents.sections.contains_key(Section::OPTIMIZER);
        let mut rename = |taken: &Path| {
            let next = self.shared.ledger.lock().rename(taken)?;
            names.iter_mut().filter(|name| name.path == taken).for_each(|name| name.path.clone_from(&next));
            Some((next, (save.trainer_state)(&names)))
        };
        let mut durable = |path: &Path, metadata: &Metadata| {
            written.non_finite = metadata.found_non_finite().cloned();
            match written.non_finite {
                None => self.shared.ledger.lock().confirm(path, resumable),
                Some(_) => self.shared.ledger.lock().confirm_non_finite(path),
            }
            written.checksum.clone_from(&metadata.checkpoint_checksum);
            written.size_bytes = metadata.total_bytes();
            written.paths.push(path.to_path_buf());
        };
        let handling = Names { rename: &mut rename, durable: &mut durable };
        persist(contents, metadata, &save.places, &self.naming, &self.shared.reading, pace, handling)
            .map(drop)
    }
}

/// What of a save is durable.
#[derive(Default)]
struct DurableNames {
    paths: Vec<PathBuf>,
    checksum: String,
    size_bytes: u64,
    non_finite: Option<NonFiniteTensors>,
}
