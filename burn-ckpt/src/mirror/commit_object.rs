//! The commit object of a checkpoint: the small object that is written last, and the only one that a reader
//! believes. It names the files, with sizes and digests, and has what a list of checkpoints shows.

use std::path::PathBuf;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_names::METADATA_SUFFIX;
use crate::format::container::bounded_json::{JsonError, parse};
use crate::format::metadata::Metadata;
use crate::format::numbers;
use crate::mirror::object_names::{FORKS_DIR, check_relative, fork_name};

/// The version of what the mirror writes: see [`MirroredCheckpoint`].
pub const MIRROR_VERSION: u32 = 1;
const FORMAT: &str = "burn-ckpt mirror";
/// The most bytes of a commit object.
pub(crate) const MAX_COMMIT_BYTES: u64 = 4 * 1024 * 1024;
/// The most values in its JSON.
const MAX_COMMIT_VALUES: usize = 50_000;
/// The most files of a checkpoint: an index, 512 shards and the metadata.
const MAX_FILES: usize = 514;
/// The most characters of a wrong name in an error.
const MAX_SHOWN_NAME: usize = 80;

/// A checkpoint in a mirror, as its commit object describes it.
///
/// ```no_run
/// use burn_ckpt::mirror::{MirroredRun, Store};
///
/// let store = Store::connect(&"s3://bucket/prefix".parse()?)?;
/// for checkpoint in MirroredRun::open(&store, "r1")?.checkpoints() {
///     println!("{}: step {}, {} bytes", checkpoint.name, checkpoint.global_step, checkpoint.total_bytes());
/// }
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MirroredCheckpoint {
    format: String,
    version: u32,
    /// The run.
    pub run_id: String,
    /// Its path, relative to the run's `checkpoint` directory: `last/epoch=9-step=500.ckpt`.
    pub name: String,
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// When the state was taken, in UTC.
    pub checkpoint_timestamp: Timestamp,
    /// When the start of the run was that saved it. `None` for one that no trainer has saved.
    #[serde(default)]
    pub start: Option<Timestamp>,
    /// Why it was saved.
    pub reason: String,
    /// Its metrics.
    #[serde(with = "numbers")]
    pub metrics: IndexMap<String, f64>,
    /// Whether parameters or the optimizer's state are NaN or infinite.
    pub non_finite: bool,
    /// Its files: the shards, the `.ckpt` file, and the metadata beside it.
    pub files: Vec<MirroredFile>,
    /// Up to where the log of metrics has the lines of this state. `None` for a checkpoint without such a
    /// log.
    pub metrics_log: Option<MirroredLog>,
    /// The term of the lease under which it was written.
    pub(crate) term: u64,
    /// When it was written to the mirror, by the clock of the writer.
    pub(crate) committed: Timestamp,
}

/// A file of a checkpoint in a mirror: see [`MirroredCheckpoint::files`].
///
/// ```no_run
/// # fn shown(file: &burn_ckpt::mirror::MirroredFile) {
/// println!("{}: {} bytes, {}", file.name, file.size, file.sha256);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MirroredFile {
    /// Its path, relative to the run's `checkpoint` directory.
    pub name: String,
    /// Its object, relative to the run's `checkpoint` directory in the mirror.
    pub object: String,
    /// Its size in bytes.
    pub size: u64,
    /// `sha256:` and 64 hexadecimal digits, as in the metadata.
    pub sha256: String,
    /// The BLAKE3 of the file in 64 hexadecimal digits.
    pub blake3: String,
}

/// Up to where a run's log of metrics has the lines of a checkpoint: see [`MirroredCheckpoint::metrics_log`].
///
/// ```no_run
/// # fn shown(checkpoint: &burn_ckpt::mirror::MirroredCheckpoint) {
/// if let Some(log) = &checkpoint.metrics_log {
///     println!("{} bytes of metrics", log.bytes);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MirroredLog {
    /// The length of the log.
    pub bytes: u64,
    /// `sha256:` and the digest of the log up to there.
    pub sha256: String,
    /// The last piece that is part of it: its term, and its number within the term.
    pub(crate) last_piece: (u64, u64),
}

impl MirroredCheckpoint {
    /// One without files yet.
    pub(crate) fn new(run_id: &str, name: &str, metadata: &Metadata) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: MIRROR_VERSION,
            run_id: run_id.to_owned(),
            name: name.to_owned(),
            epoch: metadata.epoch,
            global_step: metadata.global_step,
            checkpoint_timestamp: metadata.checkpoint_timestamp,
            start: metadata.starts.last().map(|start| start.timestamp),
            reason: metadata.reason.clone(),
            metrics: metadata.metrics.clone(),
            non_finite: !metadata.is_finite(),
            files: Vec::new(),
            metrics_log: None,
            term: 0,
            committed: Timestamp::default(),
        }
    }

    /// The name of the file of its metadata.
    pub(crate) fn metadata_name(&self) -> String {
        format!("{}{METADATA_SUFFIX}", self.name)
    }

    /// The metadata that its own file has, with what that file does not have.
    pub(crate) fn completed(&self, own: Metadata) -> Metadata {
        let checkpoint_path = self.name.rsplit('/').next().unwrap_or_default().to_owned();
        let (reason, checkpoint_checksum) = (self.reason.clone(), self.sha256().to_owned());
        Metadata { checkpoint_path, reason, checkpoint_checksum, ..own }
    }

    /// The size in bytes of all its files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// `sha256:` and the SHA-256 of its `.ckpt` file, one of its [`files`](Self::files). A commit object
    /// without that file is not read.
    #[must_use]
    pub fn sha256(&self) -> &str {
        let own = self.files.iter().find(|file| file.name == self.name);
        own.map_or("", |file| file.sha256.as_str())
    }

    /// What tells the states of a run that had one name.
    pub(crate) fn state(&self) -> (Timestamp, u64) {
        (self.checkpoint_timestamp, self.global_step)
    }

    /// Later states are larger.
    pub(crate) fn order(&self) -> (Timestamp, u64, &str) {
        (self.checkpoint_timestamp, self.global_step, &self.name)
    }

    /// Whether it is the second name of a state of another history.
    #[doc(hidden)]
    #[must_use]
    pub fn is_fork(&self) -> bool {
        let below = self.name.strip_prefix(FORKS_DIR).and_then(|name| name.strip_prefix('/'));
        below.and_then(|name| name.split('/').next()).is_some_and(|term| term.parse::<u64>().is_ok())
    }

    /// The same state under the name of one of another history. The content stays where it is.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for a name that is too deep for a reader.
    pub(crate) fn as_fork(&self) -> Result<Self> {
        let mut fork = self.clone();
        for file in &mut fork.files {
            file.name = fork_name(self.term, &file.name);
            check_relative("the second name in the mirror", &file.name)?;
        }
        fork.name = fork_name(self.term, &self.name);
        Ok(fork)
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::snapshot("the commit object cannot be written as JSON", error))?;
        Ok((text + "\n").into_bytes())
    }

    /// Reads a commit object that was found under a name. Its run is not compared: the objects of a run can
    /// be renamed as a whole, as no object names one outside of its run.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] when it is invalid or describes another checkpoint; [`Error::NewerFormat`].
    pub(crate) fn parse(json: &[u8], name: &str, shown: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u32,
        }
        let path = PathBuf::from(shown);
        let damaged = |reason: String| Error::damaged(&path, reason, None);
        let invalid =
            |error: JsonError| Error::damaged(&path, format!("it is not a commit object: {error}"), None);
        let Version { format, version } = parse(json, MAX_COMMIT_VALUES).map_err(invalid)?;
        if format != FORMAT {
            return Err(damaged("it is not a commit object".to_owned()));
        }
        if version > MIRROR_VERSION {
            let (format, supported) = ("mirror format", MIRROR_VERSION);
            return Err(Error::NewerFormat { path, format, found: version, supported });
        }
        let commit: Self = parse(json, MAX_COMMIT_VALUES).map_err(invalid)?;
        if commit.name != name {
            let other = commit.name.chars().take(MAX_SHOWN_NAME).collect::<String>();
            return Err(damaged(format!("it describes another checkpoint, {other}: the object was renamed")));
        }
        if commit.files.len() > MAX_FILES || !commit.files.iter().any(|file| file.name == name) {
            return Err(damaged(format!("it has {} files", commit.files.len())));
        }
        for file in &commit.files {
            check_relative("the file in a commit object", &file.name)
                .map_err(|error| damaged(error.to_string()))?;
            check_relative("the object in a commit object", &file.object)
                .map_err(|error| damaged(error.to_string()))?;
        }
        Ok(commit)
    }
}

/// The newest of checkpoints, which are in the order in which their states were saved, without values that
/// are NaN or infinite.
pub(crate) fn newest_finite(checkpoints: &[MirroredCheckpoint]) -> Option<&MirroredCheckpoint> {
    checkpoints.iter().rfind(|checkpoint| !checkpoint.non_finite)
}
