//! How a run ended, or that a process still writes to it: only what its files say. Where they do not say it,
//! the status is "unknown".

use std::path::Path;

use burn_ckpt::plumbing::{LockState, RunEnd, lock_state};
use burn_ckpt::{Metadata, chain};
use serde_json::Value;

/// Why a run was killed, as far as it can be seen.
const LEFT_LOCK: &str = "its lock file is left, and no process holds it";
/// What is known of a run that does not say how it ended.
const SAYS_NOTHING: &str = "its newest checkpoint does not say how it ended";

/// What is known of a run that a process can train without being seen.
const WITHOUT_LOCK: &str = "it trains without a lock";

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

    /// The status of a run. `newest` is what the newest of its checkpoints says that can be read: its
    /// metadata, and the trainer's state. `ended_because` is why that one says it is done before its last
    /// epoch, and `damage` are the reasons why checkpoints cannot be read, the newest first.
    pub fn of(
        run_dir: &Path,
        newest: Option<(&Metadata, &Value)>,
        ended_because: Option<&str>,
        damage: Vec<String>,
    ) -> Self {
        let lock = match lock_state(run_dir) {
            Ok(LockState::Held(holder)) => return Self::new(StatusKind::Running, holder),
            lock => lock,
        };
        let end = RunEnd::of(run_dir, &lock, newest);
        if newest.is_none() {
            return match (damage.into_iter().next(), end) {
                (Some(reason), _) => Self::new(StatusKind::Damaged, reason),
                (None, Ok(RunEnd::Unsaid)) => Self::new(StatusKind::NeverSaved, ""),
                (None, Ok(RunEnd::Killed)) => {
                    Self::new(StatusKind::NeverSaved, "killed before its first save")
                }
                (None, Ok(end)) => Self::new(StatusKind::NeverSaved, Self::of_end(end).in_words()),
                (None, Err(error)) => Self::new(StatusKind::NeverSaved, chain(&error)),
            };
        }
        match end {
            Ok(RunEnd::Done(None)) => Self::new(StatusKind::Done, ended_because.unwrap_or_default()),
            Ok(end) => Self::of_end(end),
            Err(error) => Self::new(StatusKind::Unknown, chain(&error)),
        }
    }

    fn of_end(end: RunEnd) -> Self {
        match end {
            RunEnd::Done(because) => Self::new(StatusKind::Done, because.unwrap_or_default()),
            RunEnd::Ended(text) => match text.split_once(": ") {
                Some(("stopped", reason)) => Self::new(StatusKind::Stopped, reason),
                Some(("exception", reason)) => Self::new(StatusKind::Failed, reason),
                _ => Self::new(StatusKind::Unknown, SAYS_NOTHING),
            },
            RunEnd::Killed => Self::new(StatusKind::Killed, LEFT_LOCK),
            RunEnd::LockUnseen(why) => Self::new(
                StatusKind::Unknown,
                format!("whether a process writes to it cannot be seen: {why}"),
            ),
            RunEnd::WithoutLock => Self::new(StatusKind::Unknown, WITHOUT_LOCK),
            RunEnd::Unsaid => Self::new(StatusKind::Unknown, SAYS_NOTHING),
        }
    }

    fn in_words(&self) -> String {
        let between = if self.why.is_empty() { "" } else { ": " };
        format!("{}{between}{}", self.kind.text(), self.why)
    }

    /// Adds something to what is known.
    pub fn add(&mut self, more: &str) {
        let between = if self.why.is_empty() { "" } else { "; " };
        self.why = format!("{}{between}{more}", self.why);
    }
}
