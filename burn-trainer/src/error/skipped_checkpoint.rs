//! A checkpoint that a run cannot resume from, and what helps.

use std::path::PathBuf;

use burn_ckpt::ErrorKind;

/// A checkpoint that a run cannot resume from, in
/// [`Error::NothingToResume`](crate::Error::NothingToResume).
///
/// ```
/// use burn_trainer::Error;
/// use burn_trainer::burn_ckpt::ErrorKind;
///
/// fn all_are_damaged(error: &Error) -> bool {
///     matches!(error, Error::NothingToResume { skipped, .. } if skipped.iter().all(|it| it.kind == ErrorKind::Damaged))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedCheckpoint {
    /// The checkpoint.
    pub path: PathBuf,
    /// The cause in one word: [`Mismatch`](ErrorKind::Mismatch) for one that is valid, and of which this
    /// program or its loop can restore nothing.
    pub kind: ErrorKind,
    /// What is wrong with it, with its path.
    pub reason: String,
    pub(crate) remedy: Remedy,
}

/// What lets a run resume, or begin, beside a checkpoint that it skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The directory that it is in is not there, as on a disk that is not mounted.
    Mount,
    /// It cannot be read now.
    Read,
    /// A newer version wrote it.
    NewerProgram,
    /// It is valid, and this program cannot restore its state.
    SameProgram,
    /// It was saved within an epoch, and the loop begins at one.
    FinishEpoch,
    /// It has no state of an optimizer.
    InitFrom,
    /// Its values are not finite.
    NameIt,
    /// It is damaged.
    Nothing,
    /// It may be whole.
    Unknown,
}

impl Remedy {
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NewerFormat => Self::NewerProgram,
            ErrorKind::PermissionDenied | ErrorKind::Io | ErrorKind::NotFound | ErrorKind::Locked => {
                Self::Read
            }
            ErrorKind::Mismatch | ErrorKind::InvalidHparams => Self::SameProgram,
            ErrorKind::Damaged | ErrorKind::NotACheckpoint => Self::Nothing,
            _ => Self::Unknown,
        }
    }

    fn advice(self) -> Option<&'static str> {
        match self {
            Self::Mount => Some("mount the disk of the checkpoints"),
            Self::Read => Some("start again when they can be read"),
            Self::NewerProgram => Some("resume with the version of the program that saved them"),
            Self::SameProgram => Some("resume with the program that saved them"),
            Self::FinishEpoch => Some("finish the epoch with Trainer::fit"),
            Self::InitFrom => Some("begin a run of another id with the weights of one as init_from"),
            Self::NameIt => Some("name one as ckpt_path to resume from it all the same"),
            Self::Nothing | Self::Unknown => None,
        }
    }

    /// Whether the state is lost for a resume, so that a start from the beginning loses no more.
    fn is_lost(self) -> bool {
        matches!(self, Self::InitFrom | Self::NameIt | Self::Nothing)
    }
}

/// Whether no start can resume one of these checkpoints, so that a start from the beginning may remove them.
pub(crate) fn all_are_lost(skipped: &[SkippedCheckpoint]) -> bool {
    skipped.iter().all(|skipped| skipped.remedy.is_lost())
}

/// What helps a run that can resume from none of its checkpoints. `overwrite` removes them all, so it is
/// named where none of them can be resumed in any way. `overwrite` with `ckpt_path = auto` is an error where
/// a checkpoint is found to be damaged only while its state is restored, so the advice sets `none`.
pub(super) fn what_helps(skipped: &[SkippedCheckpoint]) -> String {
    let mut ways: Vec<&str> = Vec::new();
    for advice in skipped.iter().filter_map(|skipped| skipped.remedy.advice()) {
        if !ways.contains(&advice) {
            ways.push(advice);
        }
    }
    ways.push("choose another run id");
    if all_are_lost(skipped) {
        ways.push("start from the beginning with overwrite, which removes them, and ckpt_path \"none\"");
    }
    ways.join(", or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrite_is_advised_only_where_no_checkpoint_can_be_resumed_in_any_way() {
        let said = |remedies: &[Remedy]| {
            let skipped = |remedy: &Remedy| SkippedCheckpoint {
                path: PathBuf::from("a"),
                kind: ErrorKind::Other,
                reason: String::new(),
                remedy: *remedy,
            };
            what_helps(&remedies.iter().map(skipped).collect::<Vec<_>>())
        };
        let newer = said(&[Remedy::of(ErrorKind::NewerFormat), Remedy::of(ErrorKind::Damaged)]);
        assert_eq!(newer, "resume with the version of the program that saved them, or choose another run id");
        let unknown = [ErrorKind::NotFound, ErrorKind::TooLarge, ErrorKind::Unverifiable, ErrorKind::Other];
        let whole = [Remedy::Mount, Remedy::Read, Remedy::SameProgram, Remedy::FinishEpoch];
        for whole in whole.into_iter().chain(unknown.map(Remedy::of)) {
            assert!(!said(&[whole, Remedy::Nothing]).contains("overwrite"), "{whole:?}");
        }
        let damaged = said(&[Remedy::of(ErrorKind::Damaged); 3]);
        assert!(damaged.starts_with("choose another run id, or start from the beginning with overwrite"));
        let weights = said(&[Remedy::InitFrom, Remedy::NameIt]);
        assert!(
            weights.contains("as init_from, or name one as ckpt_path") && weights.contains("overwrite"),
            "{weights}"
        );
    }
}
