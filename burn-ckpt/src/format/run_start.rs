//! [`RunStart`]: one start of a run, as the metadata of every later checkpoint lists it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A start of a run: when it was, from which checkpoint, with which settings, and how it ended. See
/// [`Metadata::starts`].
///
/// [`Metadata::starts`]: crate::Metadata::starts
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// for start in burn_ckpt::Checkpoint::open("runs/a/last")?.metadata()?.starts {
///     println!("{}: from step {}, {}", start.timestamp, start.global_step, start.ended.as_deref().unwrap_or("-"));
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStart {
    /// When it was, in UTC.
    pub timestamp: Timestamp,
    /// The run that was started. It differs from the metadata's where a run began with the checkpoint of
    /// another run.
    pub run_id: String,
    /// The checkpoint that the run resumed from, relative to its directory of checkpoints where it is there.
    /// `None` for a start without one.
    pub resumed_from: Option<String>,
    /// The epoch in which it began, counted from 0.
    pub epoch: u64,
    /// Optimizer steps done before it.
    pub global_step: u64,
    /// The commit of the program's repository.
    pub git_commit: Option<String>,
    /// The program as it was started: its absolute path, or its name where a shell finds it. `None` for one
    /// without burn-trainer's flags, of which `--resume` is one, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The whole configuration of the trainer. `None` where it is that of the start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainer_config: Option<Value>,
    /// The hyperparameters. `None` where they are those of the start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hparams: Option<Value>,
    /// How it ended, as far as the start after it knows: `done`, `stopped: ..` or `exception: ..`. `None` for
    /// the last start, and where a kill left no word.
    pub ended: Option<String>,
}

impl RunStart {
    /// A start of a run, without a checkpoint.
    #[must_use]
    pub fn new(timestamp: Timestamp, run_id: impl Into<String>) -> Self {
        Self {
            timestamp,
            run_id: run_id.into(),
            resumed_from: None,
            epoch: 0,
            global_step: 0,
            git_commit: None,
            program: None,
            trainer_config: None,
            hparams: None,
            ended: None,
        }
    }
}

/// The commit of the program's repository in a description of the environment.
#[must_use]
pub fn git_commit(environment: &Value) -> Option<String> {
    environment.pointer("/git/commit")?.as_str().map(str::to_owned)
}
