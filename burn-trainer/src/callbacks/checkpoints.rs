//! What became of checkpoints, as callbacks see it.

use std::path::{Path, PathBuf};

use burn_ckpt::Metadata;
use burn_ckpt::retention::SavedCheckpoint;

/// A checkpoint that is durable under its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointSaved {
    /// The file.
    pub path: PathBuf,
    /// The epoch of the state, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The file's size.
    pub size_bytes: u64,
}

impl CheckpointSaved {
    /// Reads its metadata: metrics, digests, and why it was saved.
    ///
    /// # Errors
    ///
    /// When it cannot be read, as it was deleted since, say.
    pub fn metadata(&self) -> burn_ckpt::Result<Metadata> {
        Metadata::of_checkpoint(&self.path)
    }
}

/// What the writer has done since the last look.
#[derive(Debug, Default)]
pub(crate) struct CheckpointEvents {
    pub(crate) saved: Vec<CheckpointSaved>,
    /// The new foremost checkpoint of strategies, by their names.
    pub(crate) best: Vec<(String, SavedCheckpoint)>,
    pub(crate) deleted: Vec<PathBuf>,
}

impl CheckpointEvents {
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &Path> {
        self.deleted.iter().map(PathBuf::as_path)
    }
}
