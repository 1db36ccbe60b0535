//! How a run ended, or that a process still writes to it: only what its files say. Where they do not say it,
//! the status is "unknown".

use std::path::Path;

use burn_ckpt::chain;
use burn_ckpt::metrics_log::{LoggedEnd, ended_by_log};
use burn_ckpt::plumbing::{LockState, lock_state};
use jiff::Timestamp;
use serde_json::Value;

use crate::runs::progress::Progress;

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

    /// The status of a run by its lock, the state in its newest checkpoint, and the last line of its log.
    /// `damage` are the reasons why checkpoints cannot be read, the newest first.
    pub fn of(run_dir: &Path, progress: Option<&Progress>, state: &Value, damage: Vec<String>) -> Self {
        let lock = match lock_state(run_dir) {
            Ok(LockState::Held(holder)) => return Self::new(StatusKind::Running, holder),
            Ok(lock) => Ok(lock),
            Err(error) => Err(chain(&error)),
        };
        let (steps, saved) = progress.map_or((0, Timestamp::MIN), |progress| {
            (progress.steps, progress.saved.unwrap_or(Timestamp::MIN))
        });
        let logged = ended_by_log(run_dir, steps, saved);
        let by_log = logged.as_ref().ok().and_then(Option::as_ref);
        // A process that started after that, or did not come to what says how it ended. One that was ended
        // from outside of its loop leaves its lock file, and says it. Also one that was to train a run
        // further that was done.
        let said = by_log.map_or(saved, |end| end.time);
        let was_killed_since = lock.as_ref().is_ok_and(|lock| lock.was_killed_since(said));
        let is_left = matches!(lock, Ok(LockState::Left(_)));
        let Some(progress) = progress else {
            return match (damage.into_iter().next(), by_log) {
                (Some(reason), _) => Self::new(StatusKind::Damaged, reason),
                (None, Some(end)) if !was_killed_since => {
                    Self::new(StatusKind::NeverSaved, Self::of_end(end).in_words())
                }
                (None, _) if is_left => Self::new(StatusKind::NeverSaved, "killed before its first save"),
                (None, _) => Self::new(StatusKind::NeverSaved, ""),
            };
        };
        // Steps after the newest checkpoint that no strategy has saved.
        let later = by_log.filter(|end| !was_killed_since && end.step > progress.steps);
        if !was_killed_since && progress.is_done && later.is_none() {
            return Self::new(StatusKind::Done, progress.ended_because.as_deref().unwrap_or_default());
        }
        if let Err(reason) = &lock {
            return Self::new(
                StatusKind::Unknown,
                format!("whether a process writes to it cannot be seen: {reason}"),
            );
        }
        if was_killed_since {
            return Self::new(StatusKind::Killed, LEFT_LOCK);
        }
        if progress.settings.get("lock").is_some_and(|lock| lock == "off") {
            return Self::new(StatusKind::Unknown, WITHOUT_LOCK);
        }
        match (later, ended(state), logged.as_ref()) {
            (Some(end), ..) => Self::of_end(end),
            (None, Some(ended), _) => Self::of_text(ended, None),
            (None, None, Ok(Some(end))) => Self::of_end(end),
            (None, None, Ok(None)) if is_left => Self::new(StatusKind::Killed, LEFT_LOCK),
            (None, None, Ok(None)) => Self::new(StatusKind::Unknown, SAYS_NOTHING),
            (None, None, Err(error)) => Self::new(StatusKind::Unknown, chain(error)),
        }
    }

    fn of_end(end: &LoggedEnd) -> Self {
        Self::of_text(&end.ended, end.ended_because.as_deref())
    }

    /// The status of a run that says itself how it ended.
    fn of_text(ended: &str, because: Option<&str>) -> Self {
        match ended.split_once(": ") {
            None if ended == "done" => Self::new(StatusKind::Done, because.unwrap_or_default()),
            Some(("stopped", reason)) => Self::new(StatusKind::Stopped, reason),
            Some(("exception", reason)) => Self::new(StatusKind::Failed, reason),
            _ => Self::new(StatusKind::Unknown, SAYS_NOTHING),
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

/// How the start that saved a checkpoint ended, if it was saved because of that.
fn ended(state: &Value) -> Option<&str> {
    state["ended"].as_str()
}
