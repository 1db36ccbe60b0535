//! Checks before the first step that a checkpoint can be written and read: hours of training would end
//! without one.

use std::path::PathBuf;

use burn::train::{Learner, LearnerModel};
use burn_ckpt::burn_pack::{Bytes, DType, TENSOR_ALIGNMENT, Tensor};
use burn_ckpt::plumbing::{Limits, OWN_ENTRIES, check_state, outlines, size, storage};
use burn_ckpt::{Error as CheckpointError, RunLayout, Section};

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::learner_state::optimizer_size::{MOST_TENSORS_OF_A_PARAMETER, state_outlines, trained_parameters};
use crate::metrics::HISTORY_TENSORS;
use crate::process::console::warn;
use crate::strategy::{Strategy, StrategyConfig};

/// What a run's strategies save, and where.
pub(crate) struct SavedFiles {
    has_whole_states: bool,
    directories: Vec<PathBuf>,
}

impl SavedFiles {
    /// What the strategies of the configuration save, and the program's own ones.
    pub(crate) fn of(config: &TrainerConfig, own: &[Box<dyn Strategy>], layout: &RunLayout) -> Self {
        let strategies = config.effective_strategies();
        let configured =
            strategies.iter().map(StrategyConfig::files).map(|files| (files.directory(), files.weights_only));
        let own = own.iter().filter(|_| config.checkpoint_saving).map(|strategy| strategy.output());
        let outputs: Vec<(PathBuf, bool)> =
            configured.chain(own.map(|output| (output.directory, output.weights_only))).collect();
        let has_whole_states = outputs.iter().any(|(_, weights_only)| !weights_only);
        // A directory that cannot be used is an error when the strategies are opened.
        let directories = outputs.iter().filter_map(|(directory, _)| layout.strategy_dir(directory).ok());
        Self { has_whole_states, directories: directories.collect() }
    }

    fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }
}

/// Compares a checkpoint of this learner with the limits of a reader, with the limit of a file's size, and
/// with the space that is free. The last is a warning: files may be deleted before the first save. Reads no
/// weights.
///
/// # Errors
///
/// [`burn_ckpt::Error::TooLarge`] and [`burn_ckpt::Error::FileSizeLimit`].
pub(crate) fn check<M: LearnerModel>(
    learner: &Learner<M>,
    limits: &Limits,
    saved: &SavedFiles,
) -> Result<()> {
    if saved.is_empty() {
        return Ok(());
    }
    let room = Room { limits, file_size: storage::file_size_limit(), free: least_free(&saved.directories) };
    let mut planned = outlines(&learner.model());
    let weights = room.check(&planned);
    // The optimizer's state can need larger files, and a limit is raised once.
    let is_whole_asked = match &weights {
        Ok(()) => !room.is_enough_for_any_optimizer(&planned, learner),
        Err(error) => matches!(error, Error::Checkpoint(CheckpointError::FileLimit { .. })),
    };
    if !saved.has_whole_states || !is_whole_asked {
        weights?;
    } else {
        let state = state_outlines(learner, &planned).unwrap_or_default();
        planned.extend(state);
        planned.extend(HISTORY_TENSORS.map(history_outline));
        room.check(&planned)?;
    }
    if let Some((free, directory)) = room.free.filter(|(free, _)| bytes(&planned) > *free) {
        warn(&format!(
            "a checkpoint has {} or more, and {} has {} free: saves will fail until there is more room",
            size(bytes(&planned)),
            directory.display(),
            size(free)
        ));
    }
    Ok(())
}

/// What limits the size of a checkpoint.
struct Room<'a> {
    limits: &'a Limits,
    file_size: Option<u64>,
    free: Option<(u64, PathBuf)>,
}

impl Room<'_> {
    fn check(&self, planned: &[Tensor]) -> Result<()> {
        check_state(self.limits, planned)?;
        // A larger state is saved in several files.
        let needed = bytes(planned).min(self.limits.file_bytes);
        match self.file_size {
            Some(limit) if needed > limit => Err(CheckpointError::FileSizeLimit { needed, limit }.into()),
            _ => Ok(()),
        }
    }

    /// Whether the largest state of an optimizer fits too. Then its size need not be found out.
    fn is_enough_for_any_optimizer<M: LearnerModel>(&self, weights: &[Tensor], learner: &Learner<M>) -> bool {
        let trained = trained_parameters(&learner.model());
        let is_trained = |tensor: &&Tensor| tensor.param_id.is_some_and(|id| trained.contains(&id));
        let trained: Vec<Tensor> = weights.iter().filter(is_trained).cloned().collect();
        let most = |of: u64| of.saturating_mul(MOST_TENSORS_OF_A_PARAMETER);
        let tensors = (weights.len() as u64).saturating_add(most(trained.len() as u64));
        let needed = bytes(weights).saturating_add(most(bytes(&trained)));
        let own = (HISTORY_TENSORS.len() + OWN_ENTRIES) as u64;
        let is_within = |limit: Option<u64>| limit.is_none_or(|limit| needed <= limit);
        tensors.saturating_add(own) <= self.limits.tensors.min(self.limits.state_tensors)
            && needed <= self.limits.file_bytes
            && is_within(self.file_size)
            && is_within(self.free.as_ref().map(|(free, _)| *free))
    }
}

/// A tensor of the history. Its length is not known yet.
fn history_outline(name: &str) -> Tensor {
    let nothing = Bytes::from_bytes_vec(Vec::new());
    Tensor::new(format!("{}.{name}", Section::HISTORY), DType::U8, vec![0], None, nothing)
}

/// The bytes of the tensors in a file.
fn bytes(planned: &[Tensor]) -> u64 {
    let lengths = planned.iter().map(|tensor| (tensor.byte_len() as u64).next_multiple_of(TENSOR_ALIGNMENT));
    lengths.fold(0, u64::saturating_add)
}

/// The directory on the file system with the least free space, where that is known.
fn least_free(directories: &[PathBuf]) -> Option<(u64, PathBuf)> {
    let free = |directory: &PathBuf| {
        // Directories are created by the first save in them.
        let existing = directory.ancestors().find(|above| matches!(storage::stat(above), Ok(Some(_))))?;
        match storage::free_space(existing) {
            Ok(free) => Some((free?, existing.to_path_buf())),
            Err(error) => {
                log::debug!("the free space of {} is not known: {error}", existing.display());
                None
            }
        }
    };
    directories.iter().filter_map(free).min()
}
