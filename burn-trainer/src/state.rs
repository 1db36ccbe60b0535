//! The training loop's state as it stands in a checkpoint: where in the run it was taken.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Version of [`TrainerState`] that is written and read.
pub(crate) const STATE_VERSION: u32 = 1;

/// Where in a run a state was taken, and what the run held at that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainerState {
    pub(crate) version: u32,
    /// The epoch in progress, counted from 0.
    pub(crate) epoch: u64,
    /// Whether that epoch is done, validation included.
    pub(crate) epoch_complete: bool,
    /// Training batches of that epoch that are in the state.
    pub(crate) batches: u64,
    /// Optimizer steps done.
    pub(crate) global_step: u64,
    pub(crate) seed: u64,
    /// Over all resumed parts of the run.
    pub(crate) training_time_seconds: f64,
    #[serde(with = "burn_ckpt::numbers")]
    pub(crate) metrics: IndexMap<String, f64>,
    /// The strategies that this checkpoint was saved for, with its path relative to the `checkpoint` directory.
    pub(crate) saved_for: IndexMap<String, String>,
    /// The score that each of them ranks it by.
    #[serde(with = "burn_ckpt::numbers")]
    pub(crate) scores: IndexMap<String, f64>,
}

impl TrainerState {
    /// The epoch to go on with, and the number of its batches to skip.
    pub(crate) fn next(&self) -> (u64, u64) {
        if self.epoch_complete { (self.epoch + 1, 0) } else { (self.epoch, self.batches) }
    }
}
