//! The training loop's state as it stands in a checkpoint: where in the run it was taken.

use std::time::Instant;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::metrics::MAX_EPOCHS;

/// Version of [`TrainerState`] that is written, and the newest that is read.
const STATE_VERSION: u32 = 2;
/// The largest count that is believed: the largest that every JSON reader reads as it is. No run gets there.
const MAX_COUNT: u64 = 1 << 53;

/// Where in a run a state was taken, and what the run held at that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainerState {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) position: Position,
    pub(crate) seed: u64,
    /// That of the last optimizer step, for the metrics of batches before the next one. (burn's scheduler knows only
    /// where it is.)
    #[serde(default)]
    pub(crate) learning_rate: Option<f64>,
    /// Batches in an optimizer step: the devices', times the accumulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batches_per_step: Option<u64>,
    /// Over all resumed parts of the run.
    pub(crate) training_time_seconds: f64,
    #[serde(with = "burn_ckpt::plumbing::numbers")]
    pub(crate) metrics: IndexMap<String, f64>,
    /// The strategies that this checkpoint was saved for, with its path relative to the `checkpoint` directory.
    pub(crate) saved_for: IndexMap<String, String>,
    /// The score that each of them ranks it by.
    #[serde(with = "burn_ckpt::plumbing::numbers")]
    pub(crate) scores: IndexMap<String, f64>,
}

impl TrainerState {
    /// The state at a position, saved for nobody yet.
    pub(crate) fn new(
        position: Position,
        seed: u64,
        training_time_seconds: f64,
        metrics: IndexMap<String, f64>,
    ) -> Self {
        Self {
            version: STATE_VERSION,
            position,
            seed,
            learning_rate: None,
            batches_per_step: None,
            training_time_seconds,
            metrics,
            saved_for: IndexMap::new(),
            scores: IndexMap::new(),
        }
    }

    /// The training time of a run that goes on from `previous`, of which this process trains since `started`.
    pub(crate) fn seconds_since(previous: Option<&Self>, started: Instant) -> f64 {
        previous.map_or(0.0, |state| state.training_time_seconds) + started.elapsed().as_secs_f64()
    }

    /// Checks what a file may say of a run. The error says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.version > STATE_VERSION {
            let version = self.version;
            return Err(format!(
                "its trainer state has version {version}, this program reads up to {STATE_VERSION}"
            ));
        }
        let Position { epoch, batches, items, global_step, .. } = self.position;
        let counts = [
            ("epoch", epoch, MAX_EPOCHS as u64),
            ("batches", batches, MAX_COUNT),
            ("items", items, MAX_COUNT),
            ("global_step", global_step, MAX_COUNT),
        ];
        if let Some((name, count, _)) = counts.into_iter().find(|(_, count, limit)| count >= limit) {
            return Err(format!("its trainer state has the {name} {count}, which no run gets to"));
        }
        if !(self.training_time_seconds >= 0.0 && self.training_time_seconds.is_finite()) {
            return Err(format!("its training time is {} seconds", self.training_time_seconds));
        }
        Ok(())
    }
}

/// Where in a run the learner's state is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The epoch in progress, counted from 0.
    pub(crate) epoch: u64,
    /// Whether that epoch is done, validation included.
    pub(crate) epoch_complete: bool,
    /// Whether its training is done.
    #[serde(default)]
    pub(crate) trained: bool,
    /// Training batches of that epoch that are in the state.
    pub(crate) batches: u64,
    /// Training items of that epoch that are in the state.
    #[serde(default)]
    pub(crate) items: u64,
    /// Optimizer steps done.
    pub(crate) global_step: u64,
}

impl Position {
    /// Where to go on.
    pub(crate) fn next(self) -> Self {
        if self.epoch_complete { Self::at_start(self.epoch + 1, self.global_step) } else { self }
    }

    /// An epoch's beginning.
    pub(crate) fn at_start(epoch: u64, global_step: u64) -> Self {
        Self { epoch, global_step, ..Self::default() }
    }

    /// Epochs done.
    pub(crate) fn epochs(self) -> u64 {
        self.epoch + u64::from(self.epoch_complete)
    }

    /// Updates that the training split of the epoch has logged: one a batch, and one at its end.
    pub(crate) fn logged(self) -> u64 {
        self.batches + u64::from(self.trained)
    }
}
