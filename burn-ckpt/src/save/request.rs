//! What the training loop submits to the writer's thread, and what the writer reports.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file_names::StagingOwner;
use crate::format::limits::Limits;
use crate::format::metadata::Metadata;
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::run_start::{RunStart, git_commit};
use crate::format::section::Section;

/// What every checkpoint of a run has in common.
pub struct RunDescription {
    /// The run's id.
    pub run_id: String,
    /// A name of the run for humans.
    pub name: Option<String>,
    /// The project that the run belongs to.
    pub project: Option<String>,
    /// When the run started.
    pub start_timestamp: Timestamp,
    /// The whole configuration of the trainer.
    pub trainer_config: Value,
    /// The model's hyperparameters.
    pub hparams: Value,
    /// The model's modules, or null.
    pub model: Value,
    /// Whose the staging files of this run are.
    pub staging_owner: StagingOwner,
    /// What a checkpoint, and each of its files, may not exceed.
    pub limits: Limits,
    /// The model's tensors that have values that are not finite when the run begins, by their names in the
    /// model.
    pub non_finite_at_start: Vec<String>,
    /// Every start of the run, this one included, whose commit is taken from the environment.
    pub starts: Vec<RunStart>,
    /// Describes the machine and the software. Called on the writer's thread at every save, so that facts
    /// which are found out after one save are in the next.
    pub environment: Box<dyn Fn() -> Value + Send + Sync>,
    /// Makes durable what a state counts and is in other files. Called on the writer's thread before the
    /// state is written.
    pub make_durable: Box<dyn Fn() + Send + Sync>,
}

impl RunDescription {
    /// A run of which nothing else is known.
    #[must_use]
    pub fn new(run_id: impl Into<String>, start_timestamp: Timestamp) -> Self {
        Self {
            run_id: run_id.into(),
            name: None,
            project: None,
            start_timestamp,
            trainer_config: Value::Null,
            hparams: Value::Null,
            model: Value::Null,
            staging_owner: StagingOwner::default(),
            limits: Limits::READER,
            non_finite_at_start: Vec::new(),
            starts: Vec::new(),
            environment: Box::new(|| Value::Null),
            make_durable: Box::new(|| ()),
        }
    }

    /// The metadata of a state, without what follows from its files.
    pub(crate) fn metadata_of(&self, save: &SaveRequest) -> Metadata {
        let environment = (self.environment)();
        let mut starts = self.starts.clone();
        if let Some(this) = starts.last_mut() {
            // It is not known yet when the run starts: git may take seconds.
            this.git_commit = git_commit(&environment);
        }
        Metadata {
            run_id: self.run_id.clone(),
            name: self.name.clone(),
            project: self.project.clone(),
            checkpoint_timestamp: save.timestamp,
            start_timestamp: self.start_timestamp,
            epoch: save.epoch,
            global_step: save.global_step,
            training_time_seconds: save.training_time_seconds,
            speed: save.speed.clone(),
            model: self.model.clone(),
            metrics: save.metrics.clone(),
            trainer_config: self.trainer_config.clone(),
            hparams: self.hparams.clone(),
            starts,
            environment,
            non_finite: Some(NonFiniteTensors::apart_from(&self.non_finite_at_start)),
            ..Metadata::new(save.timestamp)
        }
    }
}

/// Makes the sections of a state, on the writer's thread.
pub type MakeSections = Box<dyn FnOnce() -> Result<IndexMap<String, Section>> + Send>;

/// Makes the trainer's state for the files that are written, on the writer's thread. Called again if another
/// run has taken a name.
pub type MakeTrainerState = Box<dyn Fn(&[SavedPath]) -> Value + Send>;

/// A file of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPath {
    /// As it was reserved.
    pub reserved: PathBuf,
    /// Where it is in the end: under another number if another run has taken the name meanwhile.
    pub path: PathBuf,
}

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
    /// How fast the run trains, or null.
    pub speed: Value,
    /// The latest value of every metric.
    pub metrics: IndexMap<String, f64>,
    /// What the training loop needs to resume, for a state under these of its `places`.
    pub trainer_state: MakeTrainerState,
    /// The files to write, as reserved in the [`Ledger`](crate::retention::ledger::Ledger), each with the
    /// reason for it. The state is written once; the second file and those after it are hard links.
    pub places: Vec<(PathBuf, String)>,
    /// Whether no strategy wants the state unless better ones, which are being written, fail. It never makes
    /// the loop wait, and as the newest in the queue it gives its place to any other state.
    pub conditional: bool,
    /// Write at full speed: the caller is blocked on this save.
    pub urgent: bool,
    /// The state itself.
    pub sections: MakeSections,
}

impl SaveRequest {
    /// The files of all saves of a state.
    #[must_use]
    pub fn paths(state: &[Self]) -> Vec<PathBuf> {
        state.iter().flat_map(|save| &save.places).map(|(path, _)| path.clone()).collect()
    }
}

/// The result of a save.
#[derive(Debug)]
pub struct SaveReport {
    /// The epoch of the state.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The files that are durable under their final names.
    pub paths: Vec<PathBuf>,
    /// Those of which another run had taken the reserved name.
    pub renamed: Vec<SavedPath>,
    /// The latest value of every metric at the state.
    pub metrics: IndexMap<String, f64>,
    /// `sha256:` and the digest of each of the `.ckpt` files, which are the same file. Empty if none is
    /// durable.
    pub checksum: String,
    /// The size in bytes of the checkpoint's file, or of all its files; 0 if none is durable.
    pub size_bytes: u64,
    /// The first error. Files under other names can be durable all the same.
    pub outcome: Result<()>,
    /// Which tensors of the state have values that are not finite, if any has.
    pub non_finite: Option<NonFiniteTensors>,
    /// What failed after the files were written: a link that could not be moved, or an older file that could
    /// not be removed. It is tried again with the next save, and at the end.
    pub follow_up: Option<Error>,
    /// The files that were not written, as their strategies had got better states by then.
    pub superseded: Vec<PathBuf>,
    /// Time from the start of the save to its end. Waiting in the queue is not included.
    pub duration: Duration,
}

impl SaveReport {
    /// Whether the file that was reserved under this path is durable, or a better one is.
    #[must_use]
    pub fn has_settled(&self, reserved: &PathBuf) -> bool {
        let path = self.renamed.iter().find(|renamed| renamed.reserved == *reserved);
        let path = path.map_or(reserved, |renamed| &renamed.path);
        self.paths.contains(path) || self.superseded.contains(reserved)
    }
}

/// How saving ended.
#[derive(Debug)]
pub struct WriterEnd {
    /// The reports that were not taken yet.
    pub reports: Vec<SaveReport>,
    /// Whether everything is written.
    pub is_complete: bool,
    /// Why a link leads to an older checkpoint than it should.
    pub unmoved_link: Option<Error>,
}

/// What to do with a state when the queue is full because the disk is slower than the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenBusy {
    /// Wait until there is room in the queue.
    Wait,
    /// Skip the new state, and report that.
    Skip,
    /// Replace the newest state in the queue by the new one, and report that, if every strategy that wants
    /// the queued state ranks the new one before it. Otherwise wait: a better state is not dropped for a
    /// newer one.
    Replace,
}

/// The result of submitting a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It is in the queue, or is being written.
    Accepted,
    /// It is in the queue in place of the state of this optimizer step, which was dropped.
    Replaced(u64),
    /// The queue was full, and the state was dropped.
    Skipped,
}
