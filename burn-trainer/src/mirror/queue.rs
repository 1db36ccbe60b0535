//! What waits to be sent to the mirror: at most so many checkpoints, the best ones and then the newest first,
//! and those whose files fail behind all others. What was deleted on disk before its turn is not sent.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn_ckpt::mirror::MirrorKeep;
use indexmap::{IndexMap, IndexSet};
use parking_lot::{Condvar, Mutex};

use super::result::MirrorResult;

/// The most checkpoints that wait. More are on disk only with rules that keep many.
const MAX_WAITING: usize = 32;
/// How often the end of the run looks whether a signal has come.
const POLL: Duration = Duration::from_millis(50);
/// The longest wait, which a clock can have.
const MAX_WAIT: Duration = Duration::from_hours(24 * 30);
/// How often a file that cannot be read is tried, once the run has ended.
const TRIES_AT_END: u32 = 5;
/// The strategies whose foremost checkpoint is sent before the newest one.
const BEST: &str = "best";

/// The queue between the callback and the mirror's thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: IndexMap<PathBuf, Waiting>,
    /// Those that are not sent, whatever the store does, and why.
    unsendable: IndexMap<PathBuf, String>,
    /// Checkpoints were sent since the links were last moved.
    links_are_due: bool,
    saved: u64,
    /// The newest one that was saved.
    newest: Option<PathBuf>,
    /// Strategy -> its foremost checkpoint.
    leading: IndexMap<String, PathBuf>,
    /// What is being sent.
    in_work: Option<(PathBuf, Waiting)>,
    /// What stays in the mirror. `None` until training begins: then nothing is sent yet.
    keep: Option<MirrorKeep>,
    /// Until when the end of the run waits.
    deadline: Option<Instant>,
    /// Nothing more is sent: the wait at the end is over.
    given_up: bool,
    /// The thread has ended.
    is_over: bool,
    /// The last error of a checkpoint that was to be sent.
    send_error: Option<String>,
    result: MirrorResult,
}

/// A checkpoint that waits.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    /// It grows with each save.
    number: u64,
    /// How often its own files have failed, and not the store.
    failures: u32,
}

/// What the thread does next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Send(PathBuf),
    /// Nothing waits: only that the lease is kept.
    KeepLease,
    /// The run has ended, and everything is sent that is to be.
    End,
    /// The run has ended, and no longer waits.
    GiveUp,
}

/// What became of a checkpoint that was to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent,
    WasThere,
    /// It is not on disk any more, or it is not wanted any more.
    IsGone,
    /// Its files are damaged, or cannot be sent for another reason that lasts.
    Unsendable(String),
}

impl Queue {
    pub(super) fn new(address: String) -> Self {
        let result = MirrorResult { address, ..MirrorResult::default() };
        let state = QueueState { result, ..QueueState::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Training begins: this stays in the mirror, and these are on disk already, the oldest first.
    pub(super) fn begin(&self, keep: MirrorKeep, present: impl IntoIterator<Item = PathBuf>) {
        present.into_iter().for_each(|path| self.saved(path));
        self.state.lock().keep = Some(keep);
        self.changed.notify_all();
    }

    /// A checkpoint is durable on disk.
    pub(super) fn saved(&self, path: PathBuf) {
        let mut state = self.state.lock();
        state.saved += 1;
        let number = state.saved;
        state.newest = Some(path.clone());
        state.unsendable.shift_remove(&path);
        state.waiting.insert(path, Waiting { number, failures: 0 });
        state.drop_the_oldest();
        self.changed.notify_all();
    }

    /// A strategy has a new foremost checkpoint.
    pub(super) fn leads(&self, strategy: &str, path: &Path) {
        self.state.lock().leading.insert(strategy.to_owned(), path.to_path_buf());
    }

    /// A checkpoint is deleted on disk. Returns whether it was still to be sent, and nothing has failed: then
    /// the store is slower than the saves.
    pub(super) fn deleted(&self, path: &Path) -> bool {
        let mut state = self.state.lock();
        let was_waiting = state.waiting.shift_remove(path).is_some();
        state.unsendable.shift_remove(path);
        state.result.skipped += u64::from(was_waiting);
        was_waiting && state.result.failed == 0
    }

    /// Waits until there is something to do, for at most so long.
    pub(super) fn next(&self, limit: Duration) -> Next {
        let until = Instant::now() + limit;
        let mut state = self.state.lock();
        loop {
            if state.given_up {
                return Next::GiveUp;
            }
            if state.keep.is_some()
                && let Some(path) = state.first()
            {
                let waiting = state.waiting.shift_remove(&path).unwrap_or_default();
                state.in_work = Some((path.clone(), waiting));
                return Next::Send(path);
            }
            if state.deadline.is_some() {
                return Next::End;
            }
            if self.changed.wait_until(&mut state, until).timed_out() {
                return Next::KeepLease;
            }
        }
    }

    /// What stays in the mirror.
    pub(super) fn keep(&self) -> Option<MirrorKeep> {
        self.state.lock().keep.clone()
    }

    /// Whether what is being sent is still worth it: at the end of the run only the newest and the best are.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        let is_wanted = |(path, _): &(PathBuf, Waiting)| state.wanted_at_end().contains(path.as_path());
        !state.given_up && (state.deadline.is_none() || state.in_work.as_ref().is_none_or(is_wanted))
    }

    /// What was to be sent is no longer in work.
    pub(super) fn done(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        let path = state.in_work.take().map(|(path, _)| path);
        match outcome {
            Outcome::Sent | Outcome::WasThere => {
                state.links_are_due = true;
                state.result.sent += u64::from(outcome == Outcome::Sent);
            }
            Outcome::IsGone => state.result.skipped += 1,
            Outcome::Unsendable(error) => state.leave_out(path, error),
        }
    }

    /// What was being sent could not be, as the store failed: it waits again, unless a later state has its
    /// name.
    pub(super) fn put_back(&self) {
        let mut state = self.state.lock();
        if let Some((path, waiting)) = state.in_work.take() {
            state.wait_again(path, waiting);
        }
    }

    /// What was being sent could not be, as its own files failed: it waits behind all that have failed less
    /// often. Once the run has ended it is tried some times more.
    pub(super) fn put_behind(&self, error: String) {
        let mut state = self.state.lock();
        let Some((path, mut waiting)) = state.in_work.take() else { return };
        waiting.failures = waiting.failures.saturating_add(1);
        if state.deadline.is_some() && waiting.failures >= TRIES_AT_END {
            state.leave_out(Some(path), error);
        } else {
            state.wait_again(path, waiting);
        }
    }

    /// Notes an error of a checkpoint that was to be sent.
    pub(super) fn failed(&self, error: String) {
        let mut state = self.state.lock();
        state.send_error = Some(error.clone());
        state.note(error);
    }

    /// Notes another error.
    pub(super) fn failed_beside(&self, error: String) {
        self.state.lock().note(error);
    }

    /// The links lead to what is there.
    pub(super) fn links_are_moved(&self) {
        self.state.lock().links_are_due = false;
    }

    /// Pauses. The end of the run ends the pause; returns whether it did, so that the next is a short one.
    /// After an error `of_file`, a checkpoint that has not failed ends it too.
    pub(super) fn pause(&self, pause: Duration, of_file: bool) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        let had_ended = state.deadline.is_some();
        let has_other =
            |state: &QueueState| of_file && state.waiting.values().any(|waiting| waiting.failures == 0);
        while !state.given_up && state.deadline.is_some() == had_ended && !has_other(&state) {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.deadline.is_some() != had_ended
    }

    /// Whether the wait at the end of the run is over.
    pub(super) fn has_given_up(&self) -> bool {
        self.state.lock().given_up
    }

    /// How many checkpoints the end of the run has to wait for.
    pub(super) fn waiting_at_end(&self) -> usize {
        let state = self.state.lock();
        let wanted = state.wanted_at_end();
        let left = state.waiting.keys().chain(state.in_work.iter().map(|(path, _)| path));
        left.filter(|path| !state.is_over && wanted.contains(path.as_path())).count()
    }

    /// The run has ended. Waits until the newest and the best checkpoints are sent, at most so long, and not
    /// when it `is_stopped`. Then nothing more is sent.
    pub(super) fn end(&self, wait: Duration, is_stopped: &dyn Fn() -> bool) {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let mut state = self.state.lock();
        state.deadline = Some(deadline);
        state.leave_the_wanted();
        self.changed.notify_all();
        while !state.is_over && Instant::now() < deadline && !is_stopped() {
            self.changed.wait_for(&mut state, POLL);
        }
        state.give_up();
        self.changed.notify_all();
    }

    /// The thread ends: with everything done, or early, perhaps with an error.
    pub(super) fn finish(&self, error: Option<String>) {
        let mut state = self.state.lock();
        state.is_over = true;
        if let Some(error) = error {
            state.send_error = Some(error.clone());
            state.note(error);
        }
        self.changed.notify_all();
    }

    /// Why a checkpoint is not in the mirror, if an error was the reason; and whether the error is one of its
    /// own files.
    pub(super) fn why_unsent(&self, path: &Path) -> (Option<String>, bool) {
        let state = self.state.lock();
        match state.unsendable.get(path) {
            Some(error) => (Some(error.clone()), true),
            None => (state.send_error.clone(), false),
        }
    }

    pub(super) fn result(&self) -> MirrorResult {
        self.state.lock().result.clone()
    }
}

impl QueueState {
    /// What is sent next: a best one before the newest, so that a start from the mirror has the list of the
    /// best that belongs to its state.
    fn first(&self) -> Option<PathBuf> {
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

    fn wait_again(&mut self, path: PathBuf, waiting: Waiting) {
        self.waiting.entry(path).or_insert(waiting);
        self.drop_the_oldest();
        self.leave_the_wanted();
    }

    /// A checkpoint is not sent, unless a later state has its name.
    fn leave_out(&mut self, path: Option<PathBuf>, error: String) {
        if let Some(path) = path.filter(|path| !self.waiting.contains_key(path)) {
            self.unsendable.insert(path, error);
        }
    }

    fn note(&mut self, error: String) {
        self.result.failed += 1;
        self.result.last_error = Some(error);
    }

    /// The checkpoints that the end of the run waits for.
    fn wanted_at_end(&self) -> BTreeSet<&Path> {
        self.leading.values().chain(&self.newest).map(PathBuf::as_path).collect()
    }

    fn drop_the_oldest(&mut self) {
        while self.waiting.len() > MAX_WAITING {
            let leading: BTreeSet<&PathBuf> = self.leading.values().collect();
            let others = self.waiting.iter().filter(|(path, _)| !leading.contains(path));
            let Some(oldest) = others.min_by_key(|(_, waiting)| waiting.number).map(|(path, _)| path.clone())
            else {
                return;
            };
            self.waiting.shift_remove(&oldest);
            self.result.skipped += 1;
        }
    }

    /// Once the run has ended: nothing waits but what the end waits for.
    fn leave_the_wanted(&mut self) {
        if self.deadline.is_none() {
            return;
        }
        let wanted: BTreeSet<PathBuf> = self.wanted_at_end().into_iter().map(Path::to_path_buf).collect();
        let before = self.waiting.len();
        self.waiting.retain(|path, _| wanted.contains(path));
        self.result.skipped += (before - self.waiting.len()) as u64;
    }

    /// What is not sent now is not sent.
    fn give_up(&mut self) {
        if std::mem::replace(&mut self.given_up, true) {
            return;
        }
        let wanted: BTreeSet<PathBuf> = self.wanted_at_end().into_iter().map(Path::to_path_buf).collect();
        let left = self.waiting.keys().chain(self.in_work.iter().map(|(path, _)| path));
        let left = left.chain(self.unsendable.keys()).filter(|path| wanted.contains(*path));
        self.result.unsent = left.cloned().collect::<IndexSet<_>>().into_iter().collect();
        self.result.has_stale_links = self.links_are_due;
    }
}

#[cfg(test)]
mod tests;
