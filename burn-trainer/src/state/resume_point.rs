//! A checkpoint that a run can resume from: opened, verified, and its parts checked.

use std::path::Path;

use burn_ckpt::{Checkpoint, Metadata, Section};
use indexmap::IndexMap;

use super::check_optimizer_state::check_optimizer_state;
use super::position::TrainerState;
use crate::error::{Error, Result};
use crate::metrics::History;
use crate::process::verify_progress;

/// A verified checkpoint to resume from.
#[derive(Debug)]
pub(crate) struct ResumePoint {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) state: TrainerState,
    pub(crate) history: History,
    /// The checkpoint's metadata, against which its bytes were verified.
    pub(crate) metadata: Metadata,
    /// The sections of the program's callbacks, in memory. Empty until the learner's state is restored.
    pub(crate) callbacks: IndexMap<String, Section>,
    /// Whether it is another run's: what resumes is a new run, which begins with this state.
    pub(crate) is_of_another_run: bool,
}

impl ResumePoint {
    /// Opens a checkpoint and verifies its digests.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when it is damaged or has no optimizer and scheduler, [`Error::Unusable`] when
    /// its state or its history is invalid.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let metadata = verify_progress::verify(&checkpoint)?;
        let [model, optimizer, scheduler] = [
            checkpoint.section(Section::MODEL)?,
            checkpoint.section(Section::OPTIMIZER)?,
            checkpoint.section(Section::SCHEDULER)?,
        ];
        check_optimizer_state(&model, &optimizer, &scheduler).map_err(|reason| unusable(path, reason))?;
        let state: TrainerState = checkpoint.trainer_state()?;
        state.check().map_err(|reason| unusable(path, reason))?;
        let history = history(path, &checkpoint, &metadata, &state)?;
        Ok(Self {
            checkpoint,
            state,
            history,
            metadata,
            callbacks: IndexMap::new(),
            is_of_another_run: false,
        })
    }

    /// A section whose tensors are compared with their digests as they are read: a disk can answer otherwise
    /// than when the file was verified.
    pub(crate) fn section(&self, name: &str) -> Result<Section> {
        Ok(self.checkpoint.section_verified_by(name, &self.metadata)?)
    }

    /// How many batches of the epoch in progress are done, unless its training is.
    pub(crate) fn batches_done(&self) -> u64 {
        let position = self.state.position.next();
        if position.trained { 0 } else { position.batches }
    }

    /// The error for a part of the checkpoint that this program cannot use.
    pub(crate) fn unusable(&self, reason: String) -> Error {
        unusable(self.checkpoint.path(), reason)
    }
}

fn history(
    path: &Path,
    checkpoint: &Checkpoint,
    metadata: &Metadata,
    state: &TrainerState,
) -> Result<History> {
    if !checkpoint.has_section(Section::HISTORY) {
        return Ok(History::default());
    }
    let section = checkpoint.section_verified_by(Section::HISTORY, metadata)?;
    let history = History::from_section(section).map_err(|reason| {
        unusable(path, format!("its {} section cannot be read: {reason}", Section::HISTORY))
    })?;
    let (epochs, done) = (history.epochs() as u64, state.position.epochs());
    if epochs > done {
        let reason = format!("its state is after {done} epochs, and its history has {epochs}");
        return Err(unusable(path, reason));
    }
    Ok(history)
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Unusable { path: path.to_path_buf(), reason }
}
