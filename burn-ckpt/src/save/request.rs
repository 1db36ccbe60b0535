//! What the training loop asks of the writer's thread, and what the writer answers.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::Result;
use crate::format::section::Section;

/// What every checkpoint of a run has in common.
pub struct RunDescription {
    /// The run's id.
    pub run_id: String,
    /// A human's name for the run.
    pub name: Option<String>,
    /// The project that the run belongs to.
    pub project: Option<String>,
    /// When the run started.
    pub start_timestamp: Timestamp,
    /// The whole configuration of the trainer.
    pub trainer_config: Value,
    /// The model's hyperparameters.
    pub hparams: Value,
    /// The machine and the software; asked for on the writer's thread, at every save: what comes late for one of them is
    /// there for the next.
    pub environment: Box<dyn Fn() -> Value + Send + Sync>,
}

/// Makes the sections of a state, on the writer's thread.
pub type MakeSections = Box<dyn FnOnce() -> Result<IndexMap<String, Section>> + Send>;

/// One state to be written.
pub struct SaveRequest {
    /// When the state was taken.
    pub timestamp: Timestamp,
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// Seconds spent training up to this state.
    pub training_time_seconds: f64,
    /// The latest value of every metric.
    pub metrics: IndexMap<String, f64>,
    /// What the training loop needs to go on.
    pub trainer_state: Value,
    /// Where the state goes, reserved in the [`Ledger`], each with the reason for it. Written once; the second
    /// place and those after it are hard links.
    pub places: Vec<(PathBuf, String)>,
    /// Whether somebody waits for it, so that it need not give way to a loop that goes on.
    pub urgent: bool,
    /// The state itself.
    pub sections: MakeSections,
}

impl SaveRequest {
    /// Where the saves of a state go.
    #[must_use]
    pub fn paths(state: &[Self]) -> Vec<PathBuf> {
        state.iter().flat_map(|save| &save.places).map(|(path, _)| path.clone()).collect()
    }
}

/// What became of a save.
#[derive(Debug)]
pub struct SaveReport {
    /// The epoch of the state.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The files that are whole under their final names.
    pub paths: Vec<PathBuf>,
    /// The file's size in bytes, or what went wrong.
    pub outcome: Result<u64>,
    /// Time from taking up the save to the end of it.
    pub duration: Duration,
}

/// What to do with a save when the disk is behind: as many states wait already as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Wait until there is room.
    Wait,
    /// Let this one go, and say so.
    Skip,
    /// Let the one that has waited shortest go in favour of this one, and say so, if every strategy that wants that one
    /// ranks this one before it. Otherwise wait: a better state is not given up for a newer one.
    Replace,
}

/// What became of a state that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It is being written, or waits for that.
    Taken,
    /// So too; the state of this optimizer step, which was waiting, was let go for it.
    InPlaceOf(u64),
    /// It was let go.
    LetGo,
}
