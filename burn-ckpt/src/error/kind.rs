//! What a caller can tell errors apart by: one word for each cause.

use std::error::Error as StdError;
use std::io;

use crate::error::Error;
use crate::error::mirror_failure::MirrorFailure;
use crate::error::pack_error::PackError;

/// The cause of an [`Error`], for a caller that handles some causes and reports the others.
///
/// ```
/// use burn_ckpt::{Checkpoint, ErrorKind};
///
/// match Checkpoint::open("runs/a/last") {
///     Ok(checkpoint) => println!("resuming {}", checkpoint.path().display()),
///     Err(error) => match error.kind() {
///         ErrorKind::NotFound => println!("starting a new run"),
///         ErrorKind::Damaged | ErrorKind::NotACheckpoint => println!("trying an older one: {error}"),
///         _ => println!("giving up: {error}"),
///     },
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The disk, the quota or the limit of a file's size is exhausted.
    DiskFull,
    /// This user may not read or write the file, or its file system is read-only.
    PermissionDenied,
    /// There is no file of that name, or the run has no checkpoint for `best` or `last`.
    NotFound,
    /// A file of that name exists, and was not replaced.
    AlreadyExists,
    /// The file is a checkpoint (or its metadata), but not as it was written: it is cut off or has other
    /// bytes.
    Damaged,
    /// The file is something else than a checkpoint.
    NotACheckpoint,
    /// A newer version of burn-ckpt or burn wrote the file.
    NewerFormat,
    /// There is no valid metadata to verify the checkpoint against.
    Unverifiable,
    /// The checkpoint is valid and lacks what was asked for: other tensors, another trainer state, a missing
    /// section.
    Mismatch,
    /// The hyperparameters do not fit the type that the model is built from.
    InvalidHparams,
    /// A name, path or pattern that a user chose is invalid.
    InvalidName,
    /// Another process is writing to the run.
    Locked,
    /// The directory belongs to another run.
    OtherRun,
    /// A checkpoint, or a file of it, would be larger than allowed.
    TooLarge,
    /// The thread that writes checkpoints has ended.
    WriterStopped,
    /// Any other error of the operating system or of reading a file or device.
    Io,
    /// Anything else.
    Other,
}

impl Error {
    /// The cause of the error in one word. An operating system's error counts wherever it is in the chain of
    /// sources, so that a full disk is [`ErrorKind::DiskFull`] whatever was being written.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => kind_of_io(source),
            Self::NotACheckpoint { .. } => ErrorKind::NotACheckpoint,
            Self::Damaged { .. }
            | Self::Checksum { .. }
            | Self::Metadata { .. }
            | Self::MetricsLog { .. } => ErrorKind::Damaged,
            Self::Section { source, .. } => match source.as_deref().map(kind_of_cause) {
                None | Some(ErrorKind::Other) => ErrorKind::Damaged,
                Some(kind) => kind,
            },
            Self::NewerFormat { .. } => ErrorKind::NewerFormat,
            Self::Unverifiable { .. } => ErrorKind::Unverifiable,
            Self::TrainerState { .. }
            | Self::Mismatch { .. }
            | Self::MissingSection { .. }
            | Self::Differs { .. } => ErrorKind::Mismatch,
            Self::Hparams { .. } => ErrorKind::InvalidHparams,
            Self::Name { .. } => ErrorKind::InvalidName,
            Self::Mirror { failure, .. } => kind_of_mirror(*failure),
            Self::Locked { .. } | Self::MirrorInUse { .. } => ErrorKind::Locked,
            Self::OtherRun { .. } | Self::WrongMirror(_) => ErrorKind::OtherRun,
            Self::NotFound { .. } | Self::NothingToReport { .. } => ErrorKind::NotFound,
            Self::TooLarge { .. } | Self::FileLimit { .. } => ErrorKind::TooLarge,
            Self::FileSizeLimit { .. } => ErrorKind::DiskFull,
            Self::ReadBack { source, .. } => source.kind(),
            Self::WriterStopped { .. } => ErrorKind::WriterStopped,
            Self::Load { source, .. } | Self::Container { source, .. } | Self::Snapshot { source, .. } => {
                source.as_deref().map_or(ErrorKind::Other, kind_of_cause)
            }
            Self::Panicked { .. } => ErrorKind::Other,
        }
    }
}

/// The kind of the first operating system error in a chain of causes.
fn kind_of_cause(cause: &(dyn StdError + Send + Sync + 'static)) -> ErrorKind {
    let mut next: Option<&(dyn StdError + 'static)> = Some(cause);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return kind_of_io(error);
        }
        // burn-pack keeps an operating system's error as text alone.
        if error.downcast_ref::<PackError>().is_some_and(PackError::is_io) {
            return ErrorKind::Io;
        }
        next = error.source();
    }
    ErrorKind::Other
}

fn kind_of_mirror(failure: MirrorFailure) -> ErrorKind {
    match failure {
        MirrorFailure::Denied => ErrorKind::PermissionDenied,
        MirrorFailure::NotFound => ErrorKind::NotFound,
        MirrorFailure::Conflict => ErrorKind::AlreadyExists,
        MirrorFailure::Unreachable | MirrorFailure::TimedOut | MirrorFailure::Failed => ErrorKind::Io,
        MirrorFailure::Unsupported => ErrorKind::Other,
    }
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::DiskFull
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn io(kind: io::ErrorKind) -> ErrorKind {
        Error::io("write", "a.ckpt")(kind.into()).kind()
    }

    #[test]
    fn a_full_disk_has_one_kind_however_the_system_says_it() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
            assert_eq!(io(kind), ErrorKind::DiskFull, "{kind:?}");
        }
        assert_eq!(io(io::ErrorKind::ReadOnlyFilesystem), ErrorKind::PermissionDenied);
        assert_eq!(io(io::ErrorKind::AlreadyExists), ErrorKind::AlreadyExists);
        assert_eq!(io(io::ErrorKind::ConnectionReset), ErrorKind::Io);
    }

    #[test]
    fn an_error_of_the_system_counts_below_other_causes() {
        let full = io::Error::other(io::Error::from(io::ErrorKind::StorageFull));
        let nested = Error::snapshot("the history", Error::io("write", "a")(full));
        assert_eq!(nested.kind(), ErrorKind::Io, "the outermost error of the system counts");
        let direct =
            Error::snapshot("the history", Error::io("write", "a")(io::ErrorKind::StorageFull.into()));
        assert_eq!(direct.kind(), ErrorKind::DiskFull);
    }

    #[test]
    fn what_burn_pack_cannot_read_is_an_io_error() {
        let kind = |source| Error::unreadable_tensor(Path::new("a.ckpt"), "model.w", source).kind();
        assert_eq!(kind(burn_pack::Error::IoError("the device is lost".to_owned())), ErrorKind::Io);
        assert_eq!(kind(burn_pack::Error::ValidationError("a shape".to_owned())), ErrorKind::Other);
    }
}
