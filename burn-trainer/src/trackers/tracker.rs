//! The trait of a tracker.

use std::error::Error;
use std::fmt;

use burn_ckpt::metrics_log::Line;
use serde_json::Value;

use crate::callbacks::{RunEnd, RunInfo};

/// Sends what a run logs to another program. Give it to [`Trainer::tracker`](crate::Trainer::tracker).
///
/// All methods are called on one thread that is not the loop's, so they may wait for a network. A call that
/// fails is repeated with growing pauses, until it succeeds or the run has ended; values that come meanwhile
/// wait. The first failure is said on standard error, and at the end of the run what did not arrive.
///
/// ```
/// use burn_ckpt::metrics_log::Line;
/// use burn_trainer::trackers::{Tracker, TrackerResult};
///
/// struct Print;
///
/// impl Tracker for Print {
///     fn name(&self) -> String {
///         "print".to_owned()
///     }
///
///     fn log(&mut self, lines: &[Line]) -> TrackerResult {
///         lines.iter().for_each(|line| println!("{line}"));
///         Ok(())
///     }
/// }
/// ```
#[expect(unused_variables, reason = "the methods do nothing by default")]
pub trait Tracker: Send + 'static {
    /// A name that no other tracker or callback of the run has: letters, digits, `_` and `-`.
    fn name(&self) -> String;

    /// The run begins, or resumes: [`RunInfo::resumed_from`] says which. `state` is what
    /// [`state`](Self::state) gave last, in any earlier process of the run, and `None` in a new run. Returns
    /// which of the lines from before a resume are logged again.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`].
    fn start(&mut self, run: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        Ok(StartAt::FirstUnsent)
    }

    /// Values were logged: lines of the run's `metrics.jsonl`, up to a thousand, in their order.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`]. The same lines are logged again then.
    fn log(&mut self, lines: &[Line]) -> TrackerResult;

    /// All lines from before a resume were logged: those that follow are new. It is called once in each
    /// process, also in that of a new run.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`].
    fn caught_up(&mut self) -> TrackerResult {
        Ok(())
    }

    /// From this line on the run logs other values than an earlier process, which has sent lines of this
    /// place and after it: the run resumed from an earlier checkpoint, or with other settings.
    /// [`log`](Self::log) is given the new lines next.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`].
    fn branch(&mut self, first: &Line) -> TrackerResult {
        Ok(())
    }

    /// Training has ended, after the last line.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`].
    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        Ok(())
    }

    /// Files of the run are sent, after [`end`](Self::end): what may take longer than the end of the run
    /// waits.
    ///
    /// # Errors
    ///
    /// Any; see [`TrackerError`].
    fn upload(&mut self, end: &RunEnd) -> TrackerResult {
        Ok(())
    }

    /// What [`start`](Self::start) needs when the run resumes, such as the run's id on a server. It is
    /// written to the run's directory after successful calls, once a second while many lines are sent.
    fn state(&self) -> Option<Value> {
        None
    }
}

/// For a list that a program chooses by its configuration.
impl Tracker for Box<dyn Tracker> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn start(&mut self, run: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        (**self).start(run, state)
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        (**self).log(lines)
    }

    fn caught_up(&mut self) -> TrackerResult {
        (**self).caught_up()
    }

    fn branch(&mut self, first: &Line) -> TrackerResult {
        (**self).branch(first)
    }

    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        (**self).end(end)
    }

    fn upload(&mut self, end: &RunEnd) -> TrackerResult {
        (**self).upload(end)
    }

    fn state(&self) -> Option<Value> {
        (**self).state()
    }
}

/// Which of the lines from before a resume [`Tracker::log`] is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// Those that no earlier process has logged successfully. What an earlier process has logged after the
    /// checkpoint is left out when the run logs it again with the same values; see [`Tracker::branch`] for
    /// others. For a server, which keeps what it has.
    FirstUnsent,
    /// All. For a server that does not have the run yet, or not any more.
    FirstLine,
    /// All, at each start: for files in the run's directory, which are written again. Which lines they have
    /// is not noted. When the time after the run's end is over, the tracker is not called any more: the
    /// directory can be another process's then.
    FirstLineOfFile,
}

/// Why a call failed, and whether to repeat it. Made from any error by `?`, it is repeated.
///
/// ```
/// use burn_trainer::trackers::TrackerError;
///
/// let unreachable = TrackerError::from("connection refused");
/// let rejected = TrackerError::permanent("no metric may have this name");
/// ```
pub struct TrackerError {
    pub(super) source: Box<dyn Error + Send + Sync>,
    pub(super) is_permanent: bool,
}

/// What the methods of a [`Tracker`] return.
pub type TrackerResult<T = ()> = Result<T, TrackerError>;

impl TrackerError {
    /// An error that another try would not change. Lines are dropped then, and counted; a tracker that fails
    /// so in [`start`](Tracker::start) is not called again.
    pub fn permanent(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into(), is_permanent: true }
    }
}

// So that `?` makes one of any error, it cannot be an error itself.
impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for TrackerError {
    fn from(source: E) -> Self {
        Self { source: source.into(), is_permanent: false }
    }
}

impl fmt::Debug for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackerError")
            .field("source", &self.source)
            .field("is_permanent", &self.is_permanent)
            .finish()
    }
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&burn_ckpt::chain(&*self.source))
    }
}
