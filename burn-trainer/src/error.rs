//! The crate's one error type.

pub(crate) mod skipped_checkpoint;
mod unreadable_mirror;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::train::TrainingError;
use burn_ckpt::chain;
use burn_ckpt::plumbing::near_names::did_you_mean;
use burn_ckpt::plumbing::{is_address, without_controls};

pub use self::skipped_checkpoint::SkippedCheckpoint;
use self::skipped_checkpoint::what_helps;
use self::unreadable_mirror::what_mirror_lacks;

/// A result of this crate. See the example of [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a callback's method returns. An error ends the run with [`Error::Callback`], which has the callback's
/// name, after the state was saved as at any failure. [`Callback`](crate::callbacks::Callback) has an
/// example.
pub type CallbackResult<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What stopped a run, or kept it from starting.
///
/// `Display` does not repeat `source()`. [`burn_ckpt::chain`] has the text of both, and so has `Debug`: a
/// `main` that returns the error prints why a run failed.
///
/// ```
/// fn is_wrong_setting(error: &burn_trainer::Error) -> bool {
///     matches!(error, burn_trainer::Error::Config { .. })
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the configuration, or a part of it, is invalid.
    #[error("{setting} cannot be used: {reason}")]
    Config {
        /// The field of the configuration.
        setting: String,
        /// Why, and what would be valid.
        reason: String,
    },
    /// A device cannot be used on this machine.
    #[error("{device} cannot be started: {reason}; {}", found_on_this_machine(found))]
    Device {
        /// The device, as the metadata names it.
        device: String,
        /// What the backend said.
        reason: String,
        /// The GPUs and software adapters that were found.
        found: Vec<String>,
    },
    /// A device of another machine cannot be connected.
    #[error("{device} cannot be connected: {reason}")]
    RemoteDevice {
        /// The device's address.
        device: String,
        /// What is wrong, and what to do.
        reason: String,
        /// Whether a server answered and rejected the connection. If not, a later try can succeed.
        is_there: bool,
    },
    /// A device of the run is lost: its connection ended, or it did not answer for
    /// [`device_timeout_seconds`](crate::TrainerConfig::device_timeout_seconds).
    #[error(
        "training stopped because {} lost: {reason}{}",
        if devices.len() == 1 { format!("the device {} is", devices[0]) } else { format!("the devices {} are", devices.join(", ")) },
        newest.as_ref().map_or_else(
            || "; the run has no checkpoint to resume from".to_owned(),
            |path| format!("; the newest valid checkpoint is {}", in_one_line(path)),
        )
    )]
    DeviceLost {
        /// The devices, as the metadata names them.
        devices: Vec<String>,
        /// How the loss was noticed.
        reason: String,
        /// The newest valid checkpoint that the run can resume from.
        newest: Option<PathBuf>,
    },
    /// A checkpoint cannot be read or written, or a file of the run cannot.
    #[error(transparent)]
    Checkpoint(#[from] burn_ckpt::Error),
    /// The run has checkpoints already, and the configuration does not say whether to resume or to remove
    /// them.
    #[error(
        "the run {run_id} has checkpoints already ({}): {}",
        path.display(),
        what_to_do_with_a_run(path, missing)
    )]
    RunExists {
        /// The run's id.
        run_id: String,
        /// Its directory of checkpoints.
        path: PathBuf,
        /// The directories to which its links lead, and which are not there: on a disk that is not mounted
        /// there can be more of its checkpoints.
        missing: Vec<PathBuf>,
    },
    /// The disk has no checkpoint of the run, and its mirror cannot be read. A start from the beginning could
    /// hide hours of training.
    #[error("there is no checkpoint of the run {run_id} on disk, and {}", what_mirror_lacks(source))]
    MirrorUnreadable {
        /// The run's id.
        run_id: String,
        /// What is wrong with the mirror.
        source: burn_ckpt::Error,
    },
    /// The mirror has a newer state of the run than the disk, and it cannot be downloaded. A run that resumes
    /// from the disk would delete the newer one with its next saves.
    #[error(
        "the mirror of the run {run_id} has a newer state than the disk, and it cannot be downloaded: start it again when \
         it can be, or without the mirror, to resume from the disk"
    )]
    MirrorNotDownloaded {
        /// The run's id.
        run_id: String,
        /// What is wrong with the mirror.
        source: Box<burn_ckpt::Error>,
    },
    /// A signal came while the start waited for the mirror. Nothing was trained, and nothing was sent.
    #[error(
        "{signal} has ended the start, which waited for the mirror {mirror}: nothing was trained, and nothing was sent"
    )]
    StoppedAtStart {
        /// The signal's name: `SIGTERM`.
        signal: &'static str,
        /// The exit status of a program that it has stopped: 143.
        exit_status: u8,
        /// The mirror's address.
        mirror: String,
    },
    /// A strategy or a file name uses a metric that the training does not have.
    #[error(
        "{setting} names the metric {name:?}, which is not registered{}; the metrics are {}",
        did_you_mean(name, known.iter().map(String::as_str)),
        listed(known)
    )]
    UnknownMetric {
        /// The field of the configuration, or `the callback NAME`.
        setting: String,
        /// The metric's name as given.
        name: String,
        /// The names of the metrics.
        known: Vec<String>,
    },
    /// A strategy, early stopping or a callback needs a metric that was not logged for its split.
    #[error(
        "{setting} names the metric {name:?}, which its split did not log: register the metric for that split, as a \
         numeric one; logged were {}",
        listed(logged)
    )]
    MetricNotLogged {
        /// The field of the configuration, or `the callback NAME`.
        setting: String,
        /// The metric's full name.
        name: String,
        /// The names that were logged.
        logged: Vec<String>,
    },
    /// A data loader gives no batch: there is nothing to train on, nothing to validate on although a
    /// strategy, early stopping or a callback needs a `val_` metric, or nothing to evaluate.
    #[error("the {split} data gives no batch: {reason}")]
    NoBatch {
        /// `training`, `validation`, `validation (hard)` for a named set, or the name of the data of an
        /// evaluation.
        split: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The search for a batch size has found none that fits.
    #[error("no batch fits: with a batch size of {batch_size} {reason}; {}", smaller_than(*batch_size))]
    NoBatchFits {
        /// The smallest batch size that was tried.
        batch_size: usize,
        /// Why it does not fit.
        reason: String,
    },
    /// An evaluation or a prediction cannot be completed.
    #[error("the evaluation was stopped by an error of {part}")]
    Evaluation {
        /// `the data loader`, or the metric.
        part: String,
        /// The error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `ckpt_path` is `auto`, and none of the run's checkpoints can be resumed.
    #[error(
        "none of the checkpoints in {} can be resumed: {} ({})",
        path.display(),
        what_helps(skipped),
        skipped.iter().map(|skipped| skipped.reason.as_str()).collect::<Vec<_>>().join("; ")
    )]
    NothingToResume {
        /// The run's directory of checkpoints.
        path: PathBuf,
        /// What is wrong with each.
        skipped: Vec<SkippedCheckpoint>,
    },
    /// `ckpt_path` names a checkpoint from within an epoch, and the training loop can only start at the
    /// beginning of one.
    #[error(
        "{} was saved within epoch {} (counted from 1), after {batches} of its batches, and the loop given to fit_with can only \
         start at the beginning of one: name a checkpoint of an epoch's end in ckpt_path, let \"auto\" look for one, or finish the \
         epoch with Trainer::fit",
        path.display(),
        epoch + 1
    )]
    MidEpoch {
        /// The checkpoint.
        path: PathBuf,
        /// The epoch, counted from 0.
        epoch: u64,
        /// Training batches of it that are in the state.
        batches: u64,
    },
    /// A checkpoint is complete, but this program cannot restore its state.
    #[error("cannot resume from {}: {reason}", path.display())]
    Unusable {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit, and what would fit.
        reason: String,
    },
    /// A training step, a data loader, or a metric, logger, renderer or strategy of the program panicked.
    #[error("training stopped by a panic: {message}{}", saved_at(saved.as_ref()))]
    Panicked {
        /// The panic's message.
        message: String,
        /// The checkpoint of the state before the panic.
        saved: Option<PathBuf>,
    },
    /// A method of a callback returned an error.
    #[error("training stopped: the callback {name} failed in {method}{}", saved_at(saved.as_ref()))]
    Callback {
        /// The callback's name.
        name: String,
        /// The method's name.
        method: &'static str,
        /// The error that it returned.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// The checkpoint of the state before the error.
        saved: Option<PathBuf>,
    },
    /// burn's loop reports an error: of a data loader, of a metric, or one given to its interrupter.
    #[error("training stopped by an error{}", saved_at(saved.as_ref()))]
    Training {
        /// The error.
        source: Arc<TrainingError>,
        /// The checkpoint of the state before the error.
        saved: Option<PathBuf>,
    },
    /// A save failed, and the configuration says that training stops then.
    #[error("training stopped because a checkpoint could not be saved")]
    SaveFailed {
        /// The save's error, of which [`kind`](burn_ckpt::Error::kind) is the cause in one word.
        source: burn_ckpt::Error,
    },
}

/// The error with its causes, as [`chain`] has them: for `fn main() -> Result<()>` and `unwrap`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

/// When an error comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before training.
    Start,
    /// Before training, or in it.
    StartOrTraining,
    /// In training.
    Training,
}

impl Error {
    /// When it comes. Each has to be decided on.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Panicked { .. } | Self::Training { .. } | Self::DeviceLost { .. } => Stage::Training,
            Self::Callback { .. }
            | Self::RemoteDevice { .. }
            | Self::SaveFailed { .. }
            | Self::MetricNotLogged { .. }
            | Self::NoBatch { .. } => Stage::StartOrTraining,
            Self::Config { .. }
            | Self::Device { .. }
            | Self::Checkpoint(_)
            | Self::RunExists { .. }
            | Self::MirrorNotDownloaded { .. }
            | Self::MirrorUnreadable { .. }
            | Self::StoppedAtStart { .. }
            | Self::UnknownMetric { .. }
            | Self::NoBatchFits { .. }
            | Self::Evaluation { .. }
            | Self::NothingToResume { .. }
            | Self::MidEpoch { .. }
            | Self::Unusable { .. } => Stage::Start,
        }
    }

    pub(crate) fn config(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { setting: setting.into(), reason: reason.into() }
    }

    pub(crate) fn evaluation(
        part: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Evaluation { part: part.into(), source: Box::new(source) }
    }

    pub(crate) fn no_batch(split: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::NoBatch { split: split.into(), reason: reason.into() }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn smaller_than(batch_size: usize) -> &'static str {
    match batch_size {
        1 => {
            "use a smaller model, gradient_checkpointing, a device with more memory, or a higher memory limit if one was set"
        }
        _ => "begin with a smaller one, or allow more trials",
    }
}

fn what_to_do_with_a_run(path: &Path, missing: &[PathBuf]) -> String {
    const RESUME: &str = "resume it with ckpt_path \"auto\" (--ckpt-path auto)";
    if let [first, more @ ..] = missing {
        // With `overwrite` the links to these checkpoints would be lost.
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let place = in_one_line(first);
        return format!(
            "there can be more in {place}{more}, which is not there now: mount its disk and {RESUME}, or choose another run id"
        );
    }
    match is_address(path) {
        // Of a mirror, `overwrite` removes nothing.
        true => format!("{RESUME}, choose another run id, or another address of the mirror"),
        false => format!("{RESUME}, choose another run id, or set overwrite to remove them"),
    }
}

fn saved_at(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" (the state before it is in {})", in_one_line(path))).unwrap_or_default()
}

/// A path in a message that can have several lines itself.
fn in_one_line(path: &Path) -> String {
    without_controls(&path.display().to_string())
}

fn found_on_this_machine(adapters: &[String]) -> String {
    match adapters {
        [] => "no GPU was found on this machine: see that its driver is installed and that this user may use it, or \
               compute on the CPU"
            .to_owned(),
        adapters => format!("on this machine there is {}", adapters.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_can_fail_in_training_and_a_setting_only_before() {
        let (name, source) = ("mine".to_owned(), "it is full".into());
        let callback = Error::Callback { name, method: "on_epoch_end", source, saved: None };
        assert_eq!(callback.stage(), Stage::StartOrTraining);
        assert_eq!(Error::config("seed", "it is odd").stage(), Stage::Start);
    }

    #[test]
    fn a_run_that_exists_in_a_mirror_is_not_to_be_overwritten() {
        let message = |path: &str| {
            let (run_id, path) = ("r1".to_owned(), path.into());
            Error::RunExists { run_id, path, missing: Vec::new() }.to_string()
        };
        let (disk, mirror) = (message("logs/r1/checkpoint"), message("file:///mnt/disk/r1"));
        assert!(disk.contains("overwrite") && !disk.contains("address"), "{disk}");
        assert!(mirror.contains("another address") && !mirror.contains("overwrite"), "{mirror}");
    }
}
