//! The crate's one error type: every message names the file and the facts that disagree.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whatever can go wrong between a checkpoint and the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as an infinitive ("create", "sync", ..).
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The file is no checkpoint at all, or no longer one.
    #[error("{} is not a checkpoint: {reason}", path.display())]
    NotACheckpoint {
        /// The file that was opened.
        path: PathBuf,
        /// What about it is not as it should be.
        reason: String,
    },
    /// The file was written by a newer version of this crate.
    #[error(
        "{} has checkpoint format {found}, but this program reads formats up to {supported}: \
         update burn-ckpt to read it",
        path.display()
    )]
    NewerFormat {
        /// The file that was opened.
        path: PathBuf,
        /// The format version that it states.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// The file's bytes are not those that were written.
    #[error("{} is damaged: its metadata says {expected}, its bytes give {found}", path.display())]
    Checksum {
        /// The checkpoint.
        path: PathBuf,
        /// The digest or size in the metadata file.
        expected: String,
        /// The digest or size of the file as it is.
        found: String,
    },
    /// The metadata file beside a checkpoint cannot be understood.
    #[error("the metadata file {} cannot be read: {reason}", path.display())]
    Metadata {
        /// The metadata file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A JSON value in the checkpoint does not fit the type it was asked for.
    #[error("{} holds {what} that do not fit: {source}", path.display())]
    Json {
        /// The checkpoint.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
        /// The mismatch, with the field's name where serde knows it.
        source: serde_json::Error,
    },
    /// The hyperparameters in the checkpoint do not fit the type that the model is built from.
    #[error(
        "the hyperparameters in {} do not fit {type_name}: {reason} (where the type has changed since, bring them up to \
         date with the loader's update_hparams_json, before they are typed)",
        path.display()
    )]
    Hparams {
        /// The checkpoint.
        path: PathBuf,
        /// The type, without its modules.
        type_name: String,
        /// The field, and what is wrong with it.
        reason: String,
    },
    /// There is nothing to verify the checkpoint by.
    #[error("{} cannot be verified: {source}; verify(false) loads it as it is", path.display())]
    Unverifiable {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with its metadata.
        source: Box<Error>,
    },
    /// The tensors fit, and could not be put into the model all the same.
    #[error("cannot load the model from {}: {reason}", path.display())]
    Load {
        /// The checkpoint.
        path: PathBuf,
        /// What the file or the device answered.
        reason: String,
    },
    /// A tensor container could not be written or read.
    #[error("the container {} failed: {source}", path.display())]
    Container {
        /// The checkpoint or its staging file.
        path: PathBuf,
        /// What burnpack reports.
        source: burn_pack::Error,
    },
    /// The state could not be turned into something that can be written.
    #[error("the state to be saved cannot be read: {0}")]
    Snapshot(String),
    /// The checkpoint does not have a section that was asked for.
    #[error(
        "{} has no {section} section (it has: {present}); it may have been saved with save_weights_only",
        path.display()
    )]
    MissingSection {
        /// The checkpoint.
        path: PathBuf,
        /// The section that was asked for.
        section: String,
        /// The sections there are, separated by commas.
        present: String,
    },
    /// The tensors of a checkpoint do not fit the module they are loaded into.
    #[error("{} does not fit the model: {reason}", path.display())]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// The tensors that are missing, unused, or of another shape.
        reason: String,
    },
    /// A name that cannot become a file or directory name.
    #[error("{what} {name:?} cannot be used: {reason}")]
    Name {
        /// What the name was for ("the run id", ..).
        what: &'static str,
        /// The name as given, shortened where it is very long.
        name: String,
        /// Why not, and what would do.
        reason: String,
    },
    /// Another process is writing to this run.
    #[error("the run {} is in use by {holder}: stop that process, or choose another run id", path.display())]
    Locked {
        /// The run's directory.
        path: PathBuf,
        /// Who holds it, as far as the lock says ("process 17 on host a").
        holder: String,
    },
    /// Nothing in the run's directory answers to the name that was asked for.
    #[error("{} has no checkpoint for {wanted:?}: {hint}", path.display())]
    NotFound {
        /// The directory that was looked through.
        path: PathBuf,
        /// What was asked for ("last", "best", ..).
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// The thread that writes checkpoints is gone.
    #[error("the checkpoint writer stopped: {0}")]
    WriterStopped(String),
}

impl Error {
    /// Wraps an operating system error with what was tried on which file.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps a burnpack error with the file it concerns.
    pub(crate) fn container(path: impl AsRef<Path>) -> impl FnOnce(burn_pack::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Container { path, source }
    }
}

/// The error for a file whose bytes are not those that its metadata describes.
pub(crate) fn disagreement(path: &Path, expected: String, found: String) -> Error {
    Error::Checksum { path: path.to_path_buf(), expected, found }
}
