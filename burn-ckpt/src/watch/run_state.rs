//! Whether more checkpoints of a run are to come, as far as its files say it.

use std::fmt;

use jiff::Timestamp;

use crate::disk::run_lock::LockState;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::metrics_log::ended_by_log;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::training_progress::is_done;
use crate::watch::run_checkpoints::{Newest, NewestCheckpoint, RunCheckpoints};

/// Whether a run trains, is done or was stopped, by its lock and its newest checkpoint. See
/// [`Watch::poll`](crate::watch::Watch::poll).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunState {
    /// It has not begun: there is no such directory, or nothing in it.
    NotBegun,
    /// A process writes to it. The text has its process id and host, as far as they are known.
    Running(String),
    /// It has all its epochs or steps, or says that it is done.
    Done,
    /// Its process has ended by itself. Neither a checkpoint nor the log of metrics says why, as in a run of
    /// an earlier version.
    Ended,
    /// Its process was stopped, has failed or was killed. The text says why. The run can be resumed.
    Stopped(String),
    /// It cannot be found out whether a process writes to it. The text says why.
    Unknown(String),
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("it has not begun"),
            Self::Running(holder) => write!(f, "{holder} writes to it"),
            Self::Done => f.write_str("it is done"),
            Self::Ended => f.write_str("its process has ended, and none of its files says why"),
            Self::Stopped(why) => write!(f, "it is not done, and no process writes to it: {why}"),
            Self::Unknown(why) => write!(f, "whether a process writes to it cannot be seen: {why}"),
        }
    }
}

impl RunCheckpoints {
    /// The state of a run whose lock was looked at before its files.
    pub(super) fn run_state(
        &mut self,
        layout: &RunLayout,
        is_there: bool,
        lock: Result<LockState>,
        was_running: &mut bool,
    ) -> Result<RunState> {
        if let Ok(LockState::Held(holder)) = lock {
            *was_running = true;
            return Ok(RunState::Running(holder));
        }
        self.refresh(layout)?;
        let mut unreadable = None;
        match self.newest()? {
            Newest::Readable(newest) => return state_of(layout, &newest, lock),
            Newest::Unreadable(error) => unreadable = Some(error),
            Newest::Missing => {}
        }
        if let Some(state) = state_by_log(layout, lock.as_ref())? {
            return Ok(state);
        }
        let stopped = |why: &str| RunState::Stopped(why.to_owned());
        Ok(if let Some(error) = unreadable {
            RunState::Stopped(format!("none of its checkpoints can be read: {}", chain(&error)))
        } else if *was_running {
            stopped("it ended before its first checkpoint")
        } else if is_there && matches!(lock, Ok(LockState::Left(_))) {
            stopped("it was killed before its first checkpoint")
        } else {
            RunState::NotBegun
        })
    }
}

/// The state of a run without a checkpoint that can be read, as one that saves none, by the last line of its
/// log. `None` if that does not say how the run ended, or is of an earlier start.
fn state_by_log(
    layout: &RunLayout,
    lock: std::result::Result<&LockState, &Error>,
) -> Result<Option<RunState>> {
    let end = ended_by_log(layout.run_dir(), 0, Timestamp::MIN)?;
    let end = end.filter(|end| !lock.is_ok_and(|lock| lock.was_killed_since(end.time)));
    Ok(end.map(|end| match lock {
        _ if end.ended == "done" => RunState::Done,
        Err(error) => RunState::Unknown(chain(error)),
        Ok(_) => RunState::Stopped(end.ended),
    }))
}

fn state_of(layout: &RunLayout, newest: &NewestCheckpoint, lock: Result<LockState>) -> Result<RunState> {
    let NewestCheckpoint { metadata, trainer_state } = newest;
    let (step, saved) = (metadata.global_step, metadata.checkpoint_timestamp);
    let is_done = is_done(metadata, trainer_state);
    let in_checkpoint = trainer_state["ended"].as_str();
    let by_log = match ended_by_log(layout.run_dir(), step, saved) {
        Err(_) if is_done || in_checkpoint.is_some() => None,
        by_log => by_log?,
    };
    // Also one that was to train a run further that was done.
    let said = by_log.as_ref().map_or(saved, |end| end.time);
    if lock.as_ref().is_ok_and(|lock| lock.was_killed_since(said)) {
        return Ok(RunState::Stopped("its process was killed".to_owned()));
    }
    let is_later = by_log.as_ref().is_some_and(|end| end.step > step);
    let by_log = by_log.as_ref().map(|end| end.ended.as_str());
    let ended = if is_later { by_log } else { in_checkpoint.or(by_log) };
    if ended == Some("done") || (is_done && !is_later) {
        return Ok(RunState::Done);
    }
    Ok(match (lock, ended) {
        (Err(error), _) => RunState::Unknown(chain(&error)),
        (Ok(_), _) if metadata.trainer_config["lock"] == "off" => {
            RunState::Unknown("it trains without a lock".to_owned())
        }
        (Ok(_), Some(why)) => RunState::Stopped(why.to_owned()),
        (Ok(LockState::Left(_)), None) => RunState::Stopped("its process was killed".to_owned()),
        // A program without a trainer has no lock, and no state.
        (Ok(_), None) if trainer_state.is_null() => {
            RunState::Unknown("its checkpoints are not those of a trainer".to_owned())
        }
        (Ok(_), None) => RunState::Ended,
    })
}
