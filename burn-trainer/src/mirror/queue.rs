//! What waits to be sent to the mirror: at most a number of checkpoints, the best ones and then the newest
//! first, and those whose files fail behind all others. What was deleted on disk before its turn is not sent.

mod outside;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{DiskHistory, MirrorKeep};
use indexmap::IndexMap;
use parking_lot::{Condvar, Mutex};

pub(super) use self::outside::SentFromOutside;
use self::state::{QueueState, Waiting};
use super::result::MirrorResult;

/// How often the end of the run looks whether a signal has come.
const POLL: Duration = Duration::from_millis(50);
/// The longest wait, which a clock can have.
const MAX_WAIT: Duration = Duration::from_hours(24 * 30);
/// How often a file that cannot be read is tried, once the run has ended.
const TRIES_AT_END: u32 = 5;

/// The queue between the callback and the mirror's thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

/// A checkpoint that is on disk when training begins.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) path: PathBuf,
    /// In the mirror.
    pub(super) name: String,
    pub(super) sha256: String,
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

/// What has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedSide {
    Store,
    /// The checkpoint's own files on this disk.
    Files,
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

    /// What the mirror has at the start: the names of checkpoints, and the SHA-256 of their files.
    pub(super) fn is_in_mirror(&self, checkpoints: BTreeMap<String, String>) {
        self.state.lock().in_mirror = checkpoints;
    }

    /// The histories of what is on disk when training begins: what the mirror has of others stays there.
    pub(super) fn has_history(&self, history: DiskHistory) {
        self.state.lock().history = history;
    }

    /// Training begins: this stays in the mirror, and these are on disk already, the oldest first. Of those
    /// that have one name in the mirror, as in two directories outside of the run's, the newest counts: an
    /// older one would take its place there.
    pub(super) fn begin(&self, keep: MirrorKeep, present: impl IntoIterator<Item = Present>) {
        let mut newest: IndexMap<String, Present> = IndexMap::new();
        let mut state = self.state.lock();
        for one in present {
            // The same state in two directories is there once.
            if let Some(older) = newest.shift_remove(&one.name).filter(|older| older.sha256 != one.sha256) {
                state.leave_out(Some(older.path), hidden_by(&one.path));
            }
            newest.insert(one.name.clone(), one);
        }
        let in_mirror = std::mem::take(&mut state.in_mirror);
        for Present { path, name, sha256 } in newest.into_values() {
            state.add(path, in_mirror.get(&name).is_some_and(|there| *there == sha256));
        }
        state.keep = Some(keep);
        self.changed.notify_all();
    }

    /// A checkpoint is durable on disk.
    pub(super) fn saved(&self, path: PathBuf) {
        self.state.lock().add(path, false);
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
        let waited = state.waiting.shift_remove(path);
        let was_waiting = waited.is_some_and(|waiting| !waiting.was_there);
        state.unsendable.shift_remove(path);
        state.result.skipped += u64::from(was_waiting);
        was_waiting && state.result.failed == 0
    }

    /// Waits until there is something to do, for a limited time.
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

    /// The histories of what was on disk when training began.
    pub(super) fn history(&self) -> DiskHistory {
        self.state.lock().history.clone()
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
        let (path, was_there) = match state.in_work.take() {
            Some((path, waiting)) => (Some(path), waiting.was_there),
            None => (None, false),
        };
        match outcome {
            Outcome::Sent | Outcome::WasThere => {
                state.links_are_stale = true;
                state.result.sent += u64::from(outcome == Outcome::Sent);
            }
            Outcome::IsGone => state.result.skipped += u64::from(!was_there),
            Outcome::Unsendable(error) => state.leave_out(path, error),
        }
    }

    /// A checkpoint that was sent has taken the place of another one, of another directory, which is still on
    /// disk. Returns the message, which is the reason why the mirror lacks that one.
    pub(super) fn hides(&self, path: &Path, other: &Path) -> String {
        let mut state = self.state.lock();
        let reason = hidden_by(path);
        state.leave_out(Some(other.to_path_buf()), reason.clone());
        format!("the mirror lacks {}: {reason}", other.display())
    }

    /// A checkpoint was sent again that the mirror had lost.
    pub(super) fn sent_again(&self) {
        self.state.lock().result.sent += 1;
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
        self.state.lock().links_are_stale = false;
    }

    /// Pauses. The end of the run ends the pause; returns whether it did, so that the next is a short one.
    /// After an error of a checkpoint's files, another one that has not failed ends it too.
    pub(super) fn pause(&self, pause: Duration, failed: FailedSide) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        let had_ended = state.deadline.is_some();
        let has_other = |state: &QueueState| {
            failed == FailedSide::Files && state.waiting.values().any(|waiting| waiting.failures == 0)
        };
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

    /// Whether the run has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().deadline.is_some()
    }

    /// How many checkpoints the end of the run has to wait for.
    pub(super) fn waiting_at_end(&self) -> usize {
        let state = self.state.lock();
        let wanted = state.wanted_at_end();
        let left = state.left().filter(|(_, waiting)| !waiting.was_there);
        left.filter(|(path, _)| !state.is_over && wanted.contains(path.as_path())).count()
    }

    /// The run has ended. Waits until the newest and the best checkpoints are sent, for a limited time, and
    /// not when it `is_stopped`. Then nothing more is sent.
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

/// Why the mirror lacks a checkpoint that is on disk, where another directory has a newer one of its name.
fn hidden_by(newer: &Path) -> String {
    format!(
        "its name in the mirror is that of {}, which is newer: give strategies that save outside of the run different \
         filenames",
        newer.display()
    )
}

#[cfg(test)]
mod tests;
