//! What an evaluation returns.

use std::path::PathBuf;

use burn_ckpt::plumbing::numbers;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The numbers of a model on a data set: see [`ModelEvaluator::evaluate`](super::ModelEvaluator::evaluate).
/// The [module's page](crate::evaluation) has an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The name of the data: `test`, unless [`ModelEvaluator::split`](super::ModelEvaluator::split) sets
    /// another.
    pub split: String,
    /// The part of the checkpoint that was evaluated in place of its model, if one was: `ema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// When it ended, in UTC.
    pub timestamp: Timestamp,
    /// The items that were evaluated, as the loader counts them.
    pub items: u64,
    /// The number of batches that were used, where
    /// [`ModelEvaluator::limit_batches`](super::ModelEvaluator::limit_batches) has left some out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_batches: Option<u64>,
    /// Seconds that it took, loading of the data included.
    pub seconds: f64,
    /// The value of each metric over the whole data, in the order in which the metrics were given. The names
    /// are those of training, with the name of the data in front: `test_loss`.
    #[serde(with = "numbers")]
    pub metrics: IndexMap<String, f64>,
    /// The checkpoint that the model is from.
    #[serde(skip)]
    pub checkpoint: Option<EvaluatedCheckpoint>,
}

/// A checkpoint that was evaluated, in [`Evaluation::checkpoint`]. The [module's page](crate::evaluation) has
/// an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvaluatedCheckpoint {
    /// The file. For a link, the file that it led to.
    pub path: PathBuf,
    /// `sha256:` and the digest of the file in lower-case hexadecimal, as `sha256sum` prints it.
    pub checksum: String,
    /// The run that saved it.
    pub run_id: String,
    /// When that run was started, in UTC.
    pub start_timestamp: Timestamp,
}

impl EvaluatedCheckpoint {
    pub(super) fn new(path: PathBuf, checksum: String, run_id: String, start_timestamp: Timestamp) -> Self {
        Self { path, checksum, run_id, start_timestamp }
    }
}
