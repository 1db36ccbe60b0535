//! How far a run is, by the metadata and the trainer's state in one of its checkpoints, and how it ended, by
//! its newest checkpoint, its lock and its log.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use crate::disk::run_lock::LockState;
use crate::error::Result;
use crate::error::chain::chain;
use crate::format::metadata::Metadata;
use crate::metrics_log::ended_by_log;

/// How a run ended to which no process is known to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Its training is complete. With what has ended it before its last epoch, if the log says it.
    Done(Option<String>),
    /// `stopped: ` and the reason, or `exception: ` and the message.
    Ended(String),
    /// Its last process was ended from outside.
    Killed,
    /// It cannot be found out whether a process writes to it. With why.
    LockUnseen(String),
    /// It trains without a lock, so a process may write to it.
    WithoutLock,
    /// None of its files says it.
    Unsaid,
}

impl RunEnd {
    /// How a run ended whose lock is in this state, and is not held. `newest` is what the newest of its
    /// checkpoints says that can be read: its metadata, and the trainer's state.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) when the log cannot be read, and the checkpoint does not say it.
    pub fn of(run_dir: &Path, lock: &Result<LockState>, newest: Option<(&Metadata, &Value)>) -> Result<Self> {
        let (step, saved) = newest.map_or((0, Timestamp::MIN), |(metadata, _)| {
            (metadata.global_step, metadata.checkpoint_timestamp)
        });
        let is_done = newest.is_some_and(|(metadata, state)| is_done(metadata, state));
        let in_checkpoint = newest.and_then(|(_, state)| state["ended"].as_str());
        let by_log = match ended_by_log(run_dir, step, saved) {
            Err(_) if is_done || in_checkpoint.is_some() => None,
            by_log => by_log?,
        };
        // A process that started after that, and did not come to what says how it ended. Also one that was to
        // train a run further that was done.
        let said = by_log.as_ref().map_or(saved, |end| end.time);
        if lock.as_ref().is_ok_and(|lock| lock.was_killed_since(said)) {
            return Ok(Self::Killed);
        }
        // Steps after the newest checkpoint that no strategy has saved.
        let is_later = by_log.as_ref().is_some_and(|end| end.step > step);
        if is_done && !is_later {
            return Ok(Self::Done(None));
        }
        let (ended, because) = match by_log {
            Some(end) if is_later || in_checkpoint.is_none() => (Some(end.ended), end.ended_because),
            _ => (in_checkpoint.map(str::to_owned), None),
        };
        Ok(match (ended, lock) {
            (Some(ended), _) if ended == "done" => Self::Done(because),
            (_, Err(error)) => Self::LockUnseen(chain(error)),
            _ if newest.is_some_and(|(metadata, _)| metadata.trainer_config["lock"] == "off") => {
                Self::WithoutLock
            }
            (Some(ended), _) => Self::Ended(ended),
            (None, Ok(LockState::Left(_))) => Self::Killed,
            (None, Ok(_)) => Self::Unsaid,
        })
    }
}

/// The epochs that are done in a checkpoint.
#[must_use]
pub fn epochs_done(metadata: &Metadata, trainer_state: &Value) -> u64 {
    metadata.epoch.saturating_add(u64::from(is_at_epoch_end(trainer_state)))
}

/// Whether a checkpoint is of the end of its epoch.
#[must_use]
pub fn is_at_epoch_end(trainer_state: &Value) -> bool {
    trainer_state["epoch_complete"].as_bool().unwrap_or_default()
}

/// Whether the training is complete in a checkpoint: it says so, or it is of an earlier version, which does
/// not say how a run ended, and has all epochs or steps of its configuration.
#[must_use]
pub fn is_done(metadata: &Metadata, trainer_state: &Value) -> bool {
    let is_at =
        |limit: &str, done: u64| metadata.trainer_config[limit].as_u64().is_some_and(|limit| done >= limit);
    match &trainer_state["ended"] {
        Value::Null => {
            is_at("max_epochs", epochs_done(metadata, trainer_state))
                || is_at("max_steps", metadata.global_step)
        }
        ended => ended == "done",
    }
}
