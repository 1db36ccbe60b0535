//! What the queue knows, and what follows from it. It is changed under the queue's lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_ckpt::mirror::{DiskHistory, MirrorKeep};
use indexmap::{IndexMap, IndexSet};

use crate::mirror::result::MirrorResult;

/// The most checkpoints that wait. More are on disk only with rules that keep many.
pub(super) const MAX_WAITING: usize = 32;
/// The strategies whose foremost checkpoint is sent before the newest one.
const BEST: &str = "best";

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) waiting: IndexMap<PathBuf, Waiting>,
    /// What the mirror had at the start: name -> SHA-256. Empty once training has begun.
    pub(super) in_mirror: BTreeMap<String, String>,
    /// Those that are not sent, whatever the store does, and why.
    pub(super) unsendable: IndexMap<PathBuf, String>,
    /// Checkpoints were sent since the links were last moved, which is one of the thread's chores: `last` can
    /// name an older one.
    pub(super) links_are_stale: bool,
    pub(super) saved: u64,
    /// The newest one that was saved.
    pub(super) newest: Option<PathBuf>,
    /// Strategy -> its foremost checkpoint.
    pub(super) leading: IndexMap<String, PathBuf>,
    /// What is being sent.
    pub(super) in_work: Option<(PathBuf, Waiting)>,
    /// What stays in the mirror. `None` until training begins: then nothing is sent yet.
    pub(super) keep: Option<MirrorKeep>,
    /// The histories of what the disk had when training began.
    pub(super) history: DiskHistory,
    /// Until when the end of the run waits.
    pub(super) deadline: Option<Instant>,
    /// Nothing more is sent: the wait at the end is over.
    pub(super) given_up: bool,
    /// The thread has ended.
    pub(super) is_over: bool,
    /// The last error of a checkpoint that was to be sent.
    pub(super) send_error: Option<String>,
    pub(super) result: MirrorResult,
}

/// A checkpoint that waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    /// It grows with each save.
    pub(super) number: u64,
    /// How often its own files have failed, and not the store.
    pub(super) failures: u32,
    /// The mirror had it at the start. It waits nevertheless: what is beside it may have changed.
    pub(super) was_there: bool,
}

impl QueueState {
    pub(super) fn add(&mut self, path: PathBuf, was_there: bool) {
        self.saved += 1;
        let number = self.saved;
        self.newest = Some(path.clone());
        self.unsendable.shift_remove(&path);
        self.waiting.insert(path, Waiting { number, failures: 0, was_there });
        self.drop_the_oldest();
    }

    /// What waits, and what is being sent.
    pub(super) fn left(&self) -> impl Iterator<Item = (&PathBuf, &Waiting)> {
        self.waiting.iter().chain(self.in_work.iter().map(|(path, waiting)| (path, waiting)))
    }

    /// What is sent next: a best one before the newest, so that a start from the mirror has the list of the
    /// best that belongs to its state.
    pub(super) fn first(&self) -> Option<PathBuf> {
        let is_best = |path: &PathBuf| {
            let mut best = self.leading.iter().filter(|(strategy, _)| strategy.starts_with(BEST));
            best.any(|(_, leading)| leading == path)
        };
        let first = self
            .waiting
            .iter()
            .max_by_key(|(path, waiting)| (Reverse(waiting.failures), is_best(path), waiting.number));
        first.map(|(path, _)| path.clone())
    }

    pub(super) fn wait_again(&mut self, path: PathBuf, waiting: Waiting) {
        self.waiting.entry(path).or_insert(waiting);
        self.drop_the_oldest();
        self.leave_the_wanted();
    }

    /// A checkpoint is not sent, unless a later state has its name.
    pub(super) fn leave_out(&mut self, path: Option<PathBuf>, error: String) {
        if let Some(path) = path.filter(|path| !self.waiting.contains_key(path)) {
            self.unsendable.insert(path, error);
        }
    }

    pub(super) fn note(&mut self, error: String) {
        self.result.failed += 1;
        self.result.last_error = Some(error);
    }

    /// The checkpoints that the end of the run waits for.
    pub(super) fn wanted_at_end(&self) -> BTreeSet<&Path> {
        self.leading.values().chain(&self.newest).map(PathBuf::as_path).collect()
    }

    pub(super) fn drop_the_oldest(&mut self) {
        let unsent = |(_, waiting): &(&PathBuf, &Waiting)| !waiting.was_there;
        while self.waiting.iter().filter(unsent).count() > MAX_WAITING {
            let leading: BTreeSet<&PathBuf> = self.leading.values().collect();
            let others = self.waiting.iter().filter(unsent).filter(|(path, _)| !leading.contains(path));
            let Some(oldest) = others.min_by_key(|(_, waiting)| waiting.number).map(|(path, _)| path.clone())
            else {
                return;
            };
            self.waiting.shift_remove(&oldest);
            self.result.skipped += 1;
        }
    }

    /// Once the run has ended: nothing waits but what the end waits for.
    pub(super) fn leave_the_wanted(&mut self) {
        if self.deadline.is_none() {
            return;
        }
        let wanted: BTreeSet<PathBuf> = self.wanted_at_end().into_iter().map(Path::to_path_buf).collect();
        let mut skipped = 0;
        self.waiting.retain(|path, waiting| {
            let is_wanted = wanted.contains(path);
            skipped += u64::from(!is_wanted && !waiting.was_there);
            is_wanted
        });
        self.result.skipped += skipped;
    }

    /// What is not sent now is not sent.
    pub(super) fn give_up(&mut self) {
        if std::mem::replace(&mut self.given_up, true) {
            return;
        }
        let wanted: BTreeSet<PathBuf> = self.wanted_at_end().into_iter().map(Path::to_path_buf).collect();
        let left = self.left().filter(|(_, waiting)| !waiting.was_there).map(|(path, _)| path);
        let left = left.chain(self.unsendable.keys()).filter(|path| wanted.contains(*path));
        self.result.unsent = left.cloned().collect::<IndexSet<_>>().into_iter().collect();
        self.result.has_stale_links = self.links_are_stale;
    }
}
