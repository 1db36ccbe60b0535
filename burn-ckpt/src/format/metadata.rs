//! What a checkpoint's metadata has, and the `.metadata.json` beside the checkpoint: its fields, reading and
//! writing.
//!
//! `embedded` is the same in the container, and `of_checkpoint` brings the two together.

mod builder;
pub(crate) mod embedded;
pub(crate) mod listed;
pub(crate) mod non_finite;
pub(crate) mod of_checkpoint;
pub(crate) mod padding;

use std::path::Path;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::format::container::bounded_json::JsonError;
use crate::format::container::bounded_metadata::parse_metadata;
use crate::format::container::open_file::OpenFile;
use crate::format::container::placeholder::placeholder;
use crate::format::digest::SHA256_PREFIX;
use crate::format::limits::MAX_METADATA_BYTES;
use crate::format::metadata::listed::{Listed, MetadataParts};
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::numbers;
use crate::format::run_start::RunStart;

/// How deep the tensors' object is in a metadata file.
const DEPTH: usize = 1;

/// What a checkpoint is, where it comes from, and the digests that verify it.
///
/// Keys are written in this order. Reading ignores unknown keys, so that an older program reads a newer file.
///
/// [`Metadata::new`] and the `with_` methods make one by hand, for [`Contents::save`](crate::Contents::save):
///
/// ```
/// use burn_ckpt::Metadata;
///
/// let metadata = Metadata::new(jiff::Timestamp::now())
///     .with_run_id("distilled")
///     .with_epoch(3)
///     .with_metrics([("val_loss", 0.25)])
///     .with_reason("best");
/// assert_eq!(metadata.metrics["val_loss"], 0.25);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// The run that wrote the checkpoint.
    pub run_id: String,
    /// A name of the run for humans.
    pub name: Option<String>,
    /// The project that the run belongs to.
    pub project: Option<String>,
    /// The checkpoint's path, relative to this file.
    pub checkpoint_path: String,
    /// When the state was taken, in UTC.
    pub checkpoint_timestamp: Timestamp,
    /// When the run started, in UTC.
    pub start_timestamp: Timestamp,
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// Seconds spent training up to this state, over all resumed parts of the run.
    pub training_time_seconds: f64,
    /// How fast the run trained up to this state, over all its starts; null for a checkpoint of another
    /// program.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub speed: Value,
    /// The latest value of every numeric metric, in the order in which they were logged.
    #[serde(with = "numbers")]
    pub metrics: IndexMap<String, f64>,
    /// The whole configuration of the trainer.
    pub trainer_config: Value,
    /// The model's hyperparameters.
    pub hparams: Value,
    /// The model's modules with their parameters; null for a checkpoint of another program.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub model: Value,
    /// Every start of the run, oldest first; empty for a checkpoint that was not saved by a trainer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<RunStart>,
    /// The machine and the software that the run ran on.
    pub environment: Value,
    /// Why the checkpoint was saved, in words: `best`, `last`, `interrupted: ..`, `exception: ..`, `average
    /// of ..`, or what a program's own strategy says.
    pub reason: String,
    /// The size in bytes of the checkpoint's file. See [`Metadata::total_bytes`] for all files of a
    /// checkpoint of several files.
    pub checkpoint_size_bytes: u64,
    /// `sha256:` and the digest of the whole `.ckpt` file in lower-case hexadecimal, as `sha256sum` prints
    /// it.
    pub checkpoint_checksum: String,
    /// The other files of a checkpoint of several files, in their order: they have its tensors. Empty for a
    /// checkpoint of one file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardInfo>,
    /// Which tensors of the model and the optimizer have values that are not finite. `None` in a file of an
    /// earlier version, which does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_finite: Option<NonFiniteTensors>,
    /// Every tensor in the checkpoint, in the order in which they are stored.
    pub tensors: IndexMap<String, TensorInfo>,
}

/// Type, shape and digest of one tensor, as the metadata states them: see [`Metadata::tensors`].
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// let metadata = burn_ckpt::Checkpoint::open("runs/a/best")?.metadata()?;
/// for (name, tensor) in &metadata.tensors {
///     println!("{name}: {} {:?}, {}", tensor.dtype, tensor.shape, tensor.blake3);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Element type (`f32`, `bf16`, ..).
    pub dtype: String,
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// BLAKE3 of the tensor's little-endian bytes in lower-case hexadecimal, as `b3sum` prints it.
    pub blake3: String,
}

/// One of the files that have the tensors of a checkpoint of several files, as the metadata states it: see
/// [`Metadata::shards`].
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// let metadata = burn_ckpt::Checkpoint::open("runs/a/best")?.metadata()?;
/// for (number, shard) in (1..).zip(&metadata.shards) {
///     println!("{number}: {} bytes, {}", shard.size_bytes, shard.checksum);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardInfo {
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// `sha256:` and the digest of the whole file in lower-case hexadecimal, as `sha256sum` prints it.
    pub checksum: String,
    /// BLAKE3 of all bytes before the first tensor's in lower-case hexadecimal.
    pub header_blake3: String,
}

impl ShardInfo {
    /// A shard of which the size is known, and the digests are not yet. Those have the length of every
    /// digest.
    pub(crate) fn unknown(size_bytes: u64, digest: &str) -> Self {
        let checksum = format!("{SHA256_PREFIX}{digest}");
        Self { size_bytes, checksum, header_blake3: digest.to_owned() }
    }
}

impl Metadata {
    /// The size in bytes of all files of the checkpoint, its metadata file left out.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.size_bytes).fold(self.checkpoint_size_bytes, u64::saturating_add)
    }

    /// Which tensors of the model and the optimizer have values that are not finite. A state with such
    /// tensors is never the best one, and `auto` does not resume from it. `None` if there are none, or if the
    /// file does not say.
    #[must_use]
    pub fn found_non_finite(&self) -> Option<&NonFiniteTensors> {
        self.non_finite.as_ref().filter(|found| found.count > 0)
    }

    /// Whether the state may be the best one, and `auto` may resume from it: its file says of no tensor that
    /// it has values that are not finite. [`found_non_finite`](Self::found_non_finite) says which have.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.found_non_finite().is_none()
    }

    /// Reads a metadata file.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] when the file is larger than 48 MiB or invalid,
    /// [`Error::Io`] when it cannot be read or is missing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_parts(path.as_ref(), MetadataParts::All)
    }

    /// Reads these parts of a metadata file.
    pub(crate) fn read_parts(path: &Path, parts: MetadataParts) -> Result<Self> {
        Self::parts_of_file(&Self::open(path)?, parts)
    }

    /// Opens a metadata file.
    pub(crate) fn open(path: &Path) -> Result<StoredFile> {
        // For the message: opening something else than a file fails, too.
        if let Some(stat) = storage::stat(path).map_err(Error::io("open the metadata file", path))?
            && !stat.is_file()
        {
            return Err(Error::metadata(path, "it is not a regular file", None));
        }
        StoredFile::open(path).map_err(Error::io("open the metadata file", path))
    }

    /// Reads an open metadata file.
    pub(crate) fn of_file(file: &StoredFile) -> Result<Self> {
        Self::parts_of_file(file, MetadataParts::All)
    }

    fn parts_of_file(file: &StoredFile, parts: MetadataParts) -> Result<Self> {
        let path = file.path();
        let size = file.stat().map_err(Error::io("read", path))?.len();
        if size > MAX_METADATA_BYTES {
            let reason = format!("it has {size} bytes, and {MAX_METADATA_BYTES} are allowed");
            return Err(Error::metadata(path, reason, None));
        }
        // A file that grows meanwhile is read up to the size that it had; what is cut off does not parse.
        let text = file.read_range(0, size as usize).map_err(Error::io("read", path))?;
        Self::parts_of_text(path, &text, parts)
    }

    /// Reads the text of a metadata file.
    #[cfg(feature = "mirror")]
    pub(crate) fn of_text(path: &Path, text: &[u8]) -> Result<Self> {
        Self::parts_of_text(path, text, MetadataParts::All)
    }

    fn parts_of_text(path: &Path, text: &[u8], parts: MetadataParts) -> Result<Self> {
        let parsed = match parts {
            MetadataParts::All => parse_metadata(text, DEPTH),
            MetadataParts::Listed => parse_metadata(text, DEPTH).map(|Listed(metadata)| metadata),
        };
        parsed.map_err(|error| match error {
            JsonError::Invalid(source) => {
                let reason = placeholder(path, text);
                let reason = reason.unwrap_or("its JSON does not describe a checkpoint".to_owned());
                Error::metadata(path, reason, Some(source))
            }
            other => Error::metadata(path, other.to_string(), None),
        })
    }

    /// The text of the metadata file: pretty-printed JSON, ending in a newline.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when a part cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::snapshot("the metadata cannot be written as JSON", error))?;
        Ok(text + "\n")
    }
}

/// Compares a file's size with its metadata: the quick half of a verification.
pub(crate) fn check_size(file: &OpenFile, metadata: &Metadata) -> Result<()> {
    let (path, size) = (file.path(), file.size());
    if size != metadata.checkpoint_size_bytes {
        if let Some(reason) = file.placeholder()? {
            return Err(Error::not_a_checkpoint(path, reason));
        }
        let expected = format!("{} bytes", metadata.checkpoint_size_bytes);
        return Err(Error::checksum(path, expected, format!("{size} bytes")));
    }
    Ok(())
}
