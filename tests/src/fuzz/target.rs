//! What is fuzzed, and the limits within which it has to end.

use std::time::Duration;

/// A reader of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A checkpoint: opened, verified, loaded.
    Checkpoint,
    /// The metadata beside a checkpoint.
    Metadata,
    /// The trainer's state in a checkpoint from which a run resumes.
    TrainerState,
    /// The history in such a checkpoint.
    History,
    /// Hyperparameters, as a type has them.
    Hparams,
    /// Names of files: templates, links, parts of names.
    FileNames,
    /// `burn-ckpt import` of what `torch.save` writes.
    Pickle,
    /// `burn-ckpt import` of safetensors.
    Safetensors,
    /// `burn-ckpt import` of the index of several files.
    ShardIndex,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Checkpoint,
        Self::Metadata,
        Self::TrainerState,
        Self::History,
        Self::Hparams,
        Self::FileNames,
        Self::Pickle,
        Self::Safetensors,
        Self::ShardIndex,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Metadata => "metadata",
            Self::TrainerState => "trainer-state",
            Self::History => "history",
            Self::Hparams => "hparams",
            Self::FileNames => "file-names",
            Self::Pickle => "pickle",
            Self::Safetensors => "safetensors",
            Self::ShardIndex => "shard-index",
        }
    }

    /// The target of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Whether `burn-ckpt import` reads it, in a process for each file.
    #[must_use]
    pub fn is_imported(self) -> bool {
        matches!(self, Self::Pickle | Self::Safetensors | Self::ShardIndex)
    }

    /// Whether a run is started for each file.
    pub(super) fn trains(self) -> bool {
        matches!(self, Self::TrainerState | Self::History)
    }

    /// What takes longer hangs. A release takes a fraction of what the development profile takes.
    pub(super) fn longest(self) -> Duration {
        if self.trains() { Duration::from_secs(20) } else { Duration::from_secs(5) }
    }

    /// How much more memory than before one file may take, in bytes.
    pub(super) fn most_memory(self) -> u64 {
        64 << 20
    }

    /// The limit of the process's memory in KiB, by which a file that takes too much at once is an abort.
    pub(super) fn data_limit_kib(self) -> u64 {
        match self {
            _ if self.is_imported() => 96 << 10,
            // A run has threads, a model and burn's own.
            _ if self.trains() => 1 << 20,
            _ => 256 << 10,
        }
    }
}
