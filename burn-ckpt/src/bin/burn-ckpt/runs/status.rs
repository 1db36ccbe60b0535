//! How a run ended, or that a process still writes to it: only what its files say. Where they do not say it,
//! the status is "unknown".

use std::path::Path;

use burn_ckpt::chain;
use burn_ckpt::metrics_log::ended_by_log;
use burn_ckpt::plumbing::{LockState, lock_state};
use serde_json::Value;

use crate::runs::progress::Progress;

/// What a run is doing, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    Running,
    Done,
    Stopped,
    Failed,
    Killed,
    NeverSaved,
    Damaged,
    Unreadable,
    Unknown,
    NotARun,
}

impl StatusKind {
    pub fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::NeverSaved => "never saved",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown",
            Self::NotARun => "not a run",
        }
    }
}

/// A status, and what more is known: who runs it, why it was stopped or failed.
#[derive(Debug)]
pub struct Status {
    pub kind: StatusKind,
    /// Empty if there is nothing more to say.
    pub why: String,
}

impl Status {
    pub fn new(kind: StatusKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }

    /// The status of a run by its lock and the state in its newest checkpoint. `damage` are the reasons why
    /// checkpoints cannot be read, the newest first.
    pub fn of(run_dir: &Path, progress: Option<&Progress>, state: &Value, damage: Vec<String>) -> Self {
        let lock = match lock_state(run_dir) {
            Ok(LockState::Held(holder)) => return Self::new(StatusKind::Running, holder),
            Ok(lock) => Ok(lock),
            Err(error) => Err(chain(&error)),
        };
        let is_left = matches!(lock, Ok(LockState::Left(_)));
        let Some(progress) = progress else {
            return match damage.into_iter().next() {
                Some(reason) => Self::new(StatusKind::Damaged, reason),
                None if is_left => Self::new(StatusKind::NeverSaved, "killed before its first save"),
                None => Self::new(StatusKind::NeverSaved, ""),
            };
        };
        // Also one that was to train a run further that was done.
        let was_killed_since = lock.as_ref().is_ok_and(|lock| lock.was_killed_since(progress.saved));
        if !was_killed_since && progress.is_done {
            return Self::new(StatusKind::Done, progress.ended_because.as_deref().unwrap_or_default());
        }
        if let Err(reason) = &lock {
            return Self::new(
                StatusKind::Unknown,
                format!("whether a process writes to it cannot be seen: {reason}"),
            );
        }
        let noted = match ended(state) {
            Some(ended) => Ok(Some(ended.to_owned())),
            None => ended_by_log(run_dir, progress.steps, progress.saved),
        };
        // A process that started after that save, or did not come to what says how it ended. One that was
        // ended from outside of its loop leaves its lock file, and says it.
        if was_killed_since || (is_left && matches!(noted, Ok(None))) {
            return Self::new(StatusKind::Killed, "its lock file is left, and no process holds it");
        }
        let noted = match noted {
            Ok(noted) => noted.unwrap_or_default(),
            Err(error) => return Self::new(StatusKind::Unknown, chain(&error)),
        };
        match noted.split_once(": ") {
            Some(("stopped", reason)) => Self::new(StatusKind::Stopped, reason),
            Some(("exception", reason)) => Self::new(StatusKind::Failed, reason),
            _ => Self::new(StatusKind::Unknown, "its newest checkpoint does not say how it ended"),
        }
    }

    /// Adds something to what is known.
    pub fn add(&mut self, more: &str) {
        let between = if self.why.is_empty() { "" } else { "; " };
        self.why = format!("{}{between}{more}", self.why);
    }
}

/// How the start that saved a checkpoint ended, if it was saved because of that.
fn ended(state: &Value) -> Option<&str> {
    state["ended"].as_str()
}
