//! The crate's one error type. A message names the file and the facts that disagree; what caused it is in
//! `source()`.
//!
//! `kind` tells causes apart for a caller, `chain` prints an error with its causes in one line, and
//! `pack_error` keeps burn-pack's advice to programmers away from users.

pub(crate) mod chain;
mod constructors;
pub(crate) mod kind;
pub(crate) mod mirror_failure;
pub(crate) mod pack_error;

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::error::mirror_failure::{MirrorFailure, WrongMirror};

/// A result of this crate. See the example of [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause of any type.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Whatever can fail between a checkpoint and the disk.
///
/// [`Error::kind`] says which cause it is without a look at the variant. `Display` does not repeat
/// [`source()`](std::error::Error::source). [`chain`](crate::chain) has the text of both, and so has `Debug`:
/// a `main` that returns the error prints why something failed.
///
/// ```
/// use burn_ckpt::{Checkpoint, ErrorKind};
///
/// let error = Checkpoint::open("no-such-run/last.ckpt").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "cannot open no-such-run/last.ckpt");
/// let cause = "No such file or directory (os error 2)";
/// assert_eq!(format!("{error:?}"), format!("cannot open no-such-run/last.ckpt: {cause}"));
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reports an error for a file or directory: it is missing, the disk is full, ..
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as an infinitive ("create", "sync", ..).
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The path names something else than a checkpoint: a directory, a metadata file, a file of another
    /// format.
    #[error("{} is not a checkpoint: {reason}", path.display())]
    NotACheckpoint {
        /// The file that was opened.
        path: PathBuf,
        /// What it is instead, as far as that can be seen, and what to name.
        reason: String,
        /// The reader's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The file begins like a checkpoint, but its header is cut off or invalid.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file that was opened.
        path: PathBuf,
        /// Which part of it is invalid.
        reason: String,
        /// The reader's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
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
    /// The file was written by a newer version of burn-ckpt or of burn.
    #[error(
        "{} has {format} {found}, but this program reads versions up to {supported}: update burn-ckpt to read it",
        path.display()
    )]
    NewerFormat {
        /// The file that was opened.
        path: PathBuf,
        /// Which format is newer: `checkpoint format` or `burnpack format`.
        format: &'static str,
        /// The format version that the file states.
        found: u32,
        /// The newest format version that this program reads.
        supported: u32,
    },
    /// A file of JSON is too large or invalid: the metadata or the evaluations beside a checkpoint, or a
    /// run's tags or directories.
    #[error("the file {} is invalid: {reason}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The JSON error, where one caused it.
        source: Option<serde_json::Error>,
    },
    /// A line of a run's metrics log is invalid, or the file is not such a log.
    #[error("line {line} of {} is invalid: {reason}", path.display())]
    MetricsLog {
        /// The log.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// The JSON error, where one caused it.
        source: Option<serde_json::Error>,
    },
    /// The training loop's state in the checkpoint does not fit the type it is read as.
    #[error("the trainer state in {} does not fit the type it is read as", path.display())]
    TrainerState {
        /// The checkpoint.
        path: PathBuf,
        /// The mismatch, with the field's name where serde knows it.
        source: serde_json::Error,
    },
    /// The hyperparameters in the checkpoint do not fit the type that the model is built from.
    ///
    /// If the type has changed since the checkpoint was saved,
    /// [`CheckpointLoader::update_hparams_json`](crate::CheckpointLoader::update_hparams_json) updates them.
    #[error(
        "the hyperparameters in {} do not fit {type_name}, which may have changed since they were saved: {reason}",
        path.display()
    )]
    Hparams {
        /// The checkpoint.
        path: PathBuf,
        /// The type, without its modules.
        type_name: String,
        /// The field that does not fit.
        reason: String,
        /// What is wrong with the field, where serde says it.
        source: Option<serde_json::Error>,
    },
    /// There is no valid metadata to verify the checkpoint against.
    ///
    /// [`CheckpointLoader::verify`](crate::CheckpointLoader::verify)`(false)` loads the checkpoint without
    /// verification.
    #[error("cannot verify {}", path.display())]
    Unverifiable {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with its metadata.
        source: Box<Error>,
    },
    /// A tensor in the checkpoint cannot be read, or the device does not take it.
    #[error("cannot load {}: {reason}", path.display())]
    Load {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor, and what failed.
        reason: String,
        /// The file's or the device's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A checkpoint cannot be written for a reason that lies in its tensors: one cannot be read from its
    /// device, two have one name, ..
    #[error("cannot write {}: {reason}", path.display())]
    Container {
        /// The file that was being written.
        path: PathBuf,
        /// The tensor, and what failed.
        reason: String,
        /// The writer's or the device's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A checkpoint was written, and cannot be opened again: what the disk gives back is not what was
    /// written. It is not kept.
    #[error("{} cannot be opened right after it was written, and is not kept: check the disk", path.display())]
    ReadBack {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A checkpoint would be larger than a reader accepts. Nothing is written.
    #[error("{what} would have {found} {unit}, and a reader accepts {limit}: {advice}")]
    TooLarge {
        /// Which part: the checkpoint, its header, a tensor.
        what: String,
        /// `bytes`, `tensors` or `dimensions`.
        unit: &'static str,
        /// How many there would be.
        found: u64,
        /// How many a reader accepts.
        limit: u64,
        /// What to do.
        advice: &'static str,
    },
    /// A part of a checkpoint that has to be in one file is larger than a file may be. Nothing is written.
    #[error(
        "{what} needs {needed} bytes, and a file may have {limit}: set max_file_bytes to {needed} or more"
    )]
    FileLimit {
        /// Which part: the largest tensor, the index.
        what: String,
        /// How many bytes its file would have at least.
        needed: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A file of a checkpoint would be larger than the largest one that this process may write.
    #[error(
        "a file of a checkpoint has {needed} bytes or more, and this process may write files of at most {limit} bytes: raise the \
         limit (ulimit -f), set max_file_bytes to less, train a smaller model, or, if only the optimizer's state makes it too large, set save_weights_only"
    )]
    FileSizeLimit {
        /// The bytes of the tensors in a file.
        needed: u64,
        /// The limit of a file's size.
        limit: u64,
    },
    /// A part of the state that is to be saved cannot be expressed in a file, for example hyperparameters as
    /// JSON.
    #[error("cannot save the state: {reason}")]
    Snapshot {
        /// Which part.
        reason: String,
        /// The serializer's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A section has an entry that this version cannot interpret.
    #[error("the section is invalid: {reason}")]
    Section {
        /// Which entry.
        reason: String,
        /// The reader's error, where one caused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The checkpoint does not have a section that was asked for.
    #[error(
        "{} has no {section} section (it has: {present}){}",
        path.display(),
        why_missing(section, present)
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
    /// Two checkpoints that are to be averaged do not fit each other.
    #[error("{} and {} cannot be averaged: {reason}", path.display(), other.display())]
    Differs {
        /// The first checkpoint.
        path: PathBuf,
        /// The second one.
        other: PathBuf,
        /// The first difference, or that there is none.
        reason: String,
    },
    /// A name, path or pattern that a user chose is invalid.
    #[error("{what} {name:?} is invalid: {reason}")]
    Name {
        /// What the name was for ("the run id", ..).
        what: &'static str,
        /// The name as given, shortened where it is very long.
        name: String,
        /// Why not, and what would be valid.
        reason: String,
    },
    /// Another process is writing to this run.
    #[error("the run {} is in use by {holder}: stop that process, or name another run", path.display())]
    Locked {
        /// The run's directory.
        path: PathBuf,
        /// The holder of the lock ("process 17 on host a").
        holder: String,
    },
    /// The run has no checkpoint of the name that was asked for.
    #[error("{} has no checkpoint for {wanted:?}: {hint}", path.display())]
    NotFound {
        /// The directory that was searched.
        path: PathBuf,
        /// What was asked for ("last", "best", ..).
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// A directory has nothing that a page about runs could show.
    #[error("there is nothing to report of {}: {reason}", path.display())]
    NothingToReport {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The thread that writes checkpoints has ended, or could not be started.
    #[error("the checkpoint writer stopped: {reason}")]
    WriterStopped {
        /// Why.
        reason: String,
        /// The operating system's error, where one caused it.
        source: Option<io::Error>,
    },
    /// A directory in which the run would save and delete belongs to another run.
    #[error(
        "the run {run_id} cannot use {}: it leads to {}, of the run {other}. Remove the link, name another directory, or use \
         the run {other} itself",
        directory.display(),
        place.display()
    )]
    OtherRun {
        /// The run's id.
        run_id: String,
        /// The directory, as the run names it.
        directory: PathBuf,
        /// Where it is, or a checkpoint in it.
        place: PathBuf,
        /// The other run.
        other: String,
    },
    /// The store of a mirror cannot be reached, or does not do what is asked of it.
    #[error("cannot {action} {object}: {reason}")]
    Mirror {
        /// What was tried, as an infinitive ("read", "write", ..).
        action: &'static str,
        /// The address of the object. Neither it nor the reason has a credential.
        object: String,
        /// The cause, for a caller that handles some.
        failure: MirrorFailure,
        /// What the store answered, as far as it cannot have a credential, and what to do.
        reason: String,
    },
    /// Another process writes to the mirror of this run.
    #[error(
        "the mirror {address} is in use by {holder} until {until}: stop that process, wait until its lease ends, or choose \
         another run id"
    )]
    MirrorInUse {
        /// The run in the mirror.
        address: String,
        /// Who holds the lease ("process 17 on host a").
        holder: String,
        /// When the lease ends, unless it is renewed.
        until: Timestamp,
    },
    /// The run cannot be sent to this address.
    #[error("{0}")]
    WrongMirror(WrongMirror),
    /// A save panicked. The panic was caught, and the run continues.
    #[error("saving the checkpoint panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// The error with its causes, as [`chain`](crate::chain) has them: for `fn main() -> Result<()>` and
/// `unwrap`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain::chain(self))
    }
}

/// Why a checkpoint can lack a section, as far as that is known.
fn why_missing(section: &str, present: &str) -> String {
    let of_part = format!("user.{section}");
    match section {
        "optimizer" | "scheduler" | "history" => "; it may have been saved with save_weights_only".to_owned(),
        _ if present.split(", ").any(|name| name == of_part) => {
            format!("; the part {section} is the section {of_part}")
        }
        _ => String::new(),
    }
}
