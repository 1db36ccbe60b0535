//! Whether more checkpoints of a run are to come, as far as its files say it.

use std::fmt;

use crate::disk::run_lock::LockState;
use crate::error::Result;
use crate::error::chain::chain;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::training_progress::RunEnd;
use crate::watch::run_checkpoints::{Newest, RunCheckpoints};

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
        let (newest, unreadable) = match self.newest()? {
            Newest::Readable(newest) => (Some(newest), None),
            Newest::Unreadable(error) => (None, Some(error)),
            Newest::Missing => (None, None),
        };
        let said = newest.as_ref().map(|newest| (&newest.metadata, &newest.trainer_state));
        let stopped = |why: &str| RunState::Stopped(why.to_owned());
        let unknown = |why: &str| RunState::Unknown(why.to_owned());
        Ok(match (RunEnd::of(layout.run_dir(), &lock, said)?, &newest) {
            (RunEnd::Done(_), _) => RunState::Done,
            (RunEnd::Ended(why), _) => RunState::Stopped(why),
            (RunEnd::LockUnseen(why), _) => RunState::Unknown(why),
            (RunEnd::WithoutLock, _) => unknown("it trains without a lock"),
            (RunEnd::Killed, Some(_)) => stopped("its process was killed"),
            // A program without a trainer has no lock, and no state.
            (RunEnd::Unsaid, Some(newest)) if newest.trainer_state.is_null() => {
                unknown("its checkpoints are not those of a trainer")
            }
            (RunEnd::Unsaid, Some(_)) => RunState::Ended,
            (end, None) => match unreadable {
                Some(error) => {
                    RunState::Stopped(format!("none of its checkpoints can be read: {}", chain(&error)))
                }
                None if *was_running => stopped("it ended before its first checkpoint"),
                None if is_there && end == RunEnd::Killed => {
                    stopped("it was killed before its first checkpoint")
                }
                None => RunState::NotBegun,
            },
        })
    }
}
