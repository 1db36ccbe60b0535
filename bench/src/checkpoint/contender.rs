//! Who takes part: names, the phases of each, and the memory and disk that each needs. What each does is in
//! `contenders/`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::case::Case;

/// Optimizer steps between two saves that come faster than the disk can write.
pub const STEPS_BETWEEN_FREQUENT_SAVES: u64 = 3;

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
pub enum Contender {
    /// This project's trainer: best and last, both of every saved state
    Ours,
    /// The same, with an optimizer that burn's `init` made
    OursOpaque,
    /// The trainer, saving every 3 steps, waiting for the disk
    OursSteady,
    /// The same, saving every 3 steps, skipping a save when the queue is full
    OursSkip,
    /// The same, saving every 3 steps, replacing the queued state by the newer one
    OursReplace,
    /// The trainer with the system's allocator
    SystemAllocator,
    /// burn's own loop and checkpointers
    Burn,
    /// The same, with epochs of 3 steps
    BurnSteady,
    /// PyTorch's torch.save of model and optimizer
    Torch,
    /// Lightning's ModelCheckpoint, best and last
    Lightning,
    /// Orbax' asynchronous CheckpointManager
    Orbax,
    /// safetensors' save_file of model and optimizer
    Safetensors,
    /// No save: a thread that writes as many bytes beside the trainer, and syncs them
    PlainWrite,
    /// What memory, disk and hashes take for the same bytes
    Limits,
    /// The trainer's loop without saves against burn's own
    Loop,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Trains and saves.
    Train,
    /// Trains and saves nothing, for the memory that this takes.
    Quiet,
    /// Loads what the first process has saved.
    Load,
}

impl Phase {
    /// In words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Quiet => "training without saves",
            Self::Load => "loading",
        }
    }
}

impl Contender {
    /// Its name in a table.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "burn-trainer (best + last)",
            Self::OursOpaque => "burn-trainer, optimizer of burn's init",
            Self::OursSteady => "burn-trainer, wait",
            Self::OursSkip => "burn-trainer, skip",
            Self::OursReplace => "burn-trainer, replace",
            Self::SystemAllocator => "burn-trainer, system's allocator",
            Self::Burn => "burn's own checkpointers",
            Self::BurnSteady => "burn's own checkpointers",
            Self::Torch => "torch.save",
            Self::Lightning => "Lightning ModelCheckpoint (best + last)",
            Self::Orbax => "Orbax CheckpointManager (async)",
            Self::Safetensors => "safetensors save_file",
            Self::PlainWrite => "no save: a plain write + fsync",
            Self::Limits => "limits",
            Self::Loop => "loop",
        }
    }

    /// The Python script, for the peers in Python.
    #[must_use]
    pub fn script(self) -> Option<&'static str> {
        match self {
            Self::Torch => Some("torch_save.py"),
            Self::Lightning => Some("lightning_best_last.py"),
            Self::Orbax => Some("orbax_async.py"),
            Self::Safetensors => Some("safetensors_file.py"),
            _ => None,
        }
    }

    /// Its phases, one process after the other.
    #[must_use]
    pub fn phases(self) -> &'static [Phase] {
        match self {
            Self::OursOpaque => &[Phase::Train, Phase::Quiet],
            Self::OursSteady
            | Self::OursSkip
            | Self::OursReplace
            | Self::SystemAllocator
            | Self::BurnSteady
            | Self::PlainWrite
            | Self::Limits
            | Self::Loop => &[Phase::Train],
            _ => &[Phase::Train, Phase::Quiet, Phase::Load],
        }
    }

    /// Bytes of memory that must be free before it is started.
    #[must_use]
    pub fn memory_needed(self, case: &Case) -> u64 {
        let states = match self {
            Self::OursSteady | Self::OursSkip | Self::OursReplace => 5,
            Self::Limits => 2,
            Self::Loop => 0,
            _ => 4,
        };
        case.state_bytes() * states + (1 << 29)
    }

    /// Upper bound of the bytes on disk that it has at a time.
    #[must_use]
    pub fn disk_needed(self, case: &Case) -> u64 {
        let states = match self {
            Self::Limits => 1,
            Self::Loop => 0,
            _ => 4,
        };
        case.state_bytes() * states + (1 << 26)
    }
}
