//! Why a mirror's store did not do what was asked of it, and why a run cannot be sent to an address, for a
//! caller that handles some causes.

use jiff::Timestamp;
use thiserror::Error;

/// The cause of an [`Error::Mirror`](crate::Error::Mirror).
///
/// ```no_run
/// use burn_ckpt::{Error, MirrorFailure};
///
/// fn is_worth_another_try(error: &Error) -> bool {
///     use MirrorFailure::{TimedOut, Unreachable};
///     matches!(error, Error::Mirror { failure: Unreachable | TimedOut, .. })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MirrorFailure {
    /// No answer: the name is unknown, there is no connection, or it was reset.
    Unreachable,
    /// The answer did not come in time.
    TimedOut,
    /// The credentials are missing, invalid, or do not suffice.
    Denied,
    /// There is no such bucket or object.
    NotFound,
    /// Another writer has changed the object.
    Conflict,
    /// The store cannot do what is needed, such as a conditional write.
    Unsupported,
    /// The store answered that it failed, or has stored something else than was sent.
    Failed,
}

/// Why a run cannot be sent to an address: see [`Error::WrongMirror`](crate::Error::WrongMirror).
///
/// ```no_run
/// use burn_ckpt::{Error, WrongMirror};
///
/// fn is_another_run(error: &Error) -> bool {
///     matches!(error, Error::WrongMirror(WrongMirror::AnotherRun { .. }))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WrongMirror {
    /// The run of that id there has begun at another time than the one on disk.
    #[error(
        "the mirror {address} has another run of the id {run_id} (begun {start}, step {step}): choose another run id or another \
         address"
    )]
    AnotherRun {
        /// The mirror.
        address: String,
        /// The id of both.
        run_id: String,
        /// When the run in the mirror has begun.
        start: Timestamp,
        /// The step of its newest checkpoint.
        step: u64,
    },
    /// The objects there were those of a run of another id, and were renamed or copied.
    #[error(
        "{address}/{run_id} has the checkpoints of the run {other}, whose objects were renamed or copied: only reading them is \
         safe. Give them their name back, choose another run id, or get a checkpoint with burn-ckpt cp"
    )]
    Renamed {
        /// The mirror.
        address: String,
        /// The run that is sent.
        run_id: String,
        /// The run whose checkpoints are there.
        other: String,
    },
    /// What is sent would be in the run's own directory.
    #[error("the mirror's directory is the run's own: name another one")]
    OwnDirectory,
    /// The address is that of a run, and not of a mirror.
    #[error("{address} is a run: the mirror is the address above it, {mirror}")]
    IsRun {
        /// What was named.
        address: String,
        /// The mirror.
        mirror: String,
    },
}
