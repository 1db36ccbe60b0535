//! Why a mirror's store did not do what was asked of it, for a caller that handles some causes.

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
