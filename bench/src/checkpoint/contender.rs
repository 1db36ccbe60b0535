//! Who takes part, and what each one does in a process of its own.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::program::Result;

use super::case::Case;
use super::child::Task;
use super::measured::{Measured, peak_of_this_process, written_by_this_process};
use super::ours::{self, Pace};
use super::{burns, limits, loading, loops, plain_write};
use burn::optim::AdamConfig;
use burn_ckpt::plumbing::WhenBusy;
use burn_trainer::optimizer::InitStreamed;

/// Steps between saves that come faster than the disk takes them.
pub const EVERY: u64 = 3;

/// One that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
pub enum Contender {
    /// This project's trainer: best and last, both of every saved state
    Ours,
    /// The same, with an optimizer that burn's `init` made
    OursOpaque,
    /// The trainer, saving every 3 steps, waiting for the disk
    OursSteady,
    /// The same, saving every 3 steps, letting a save go where one waits already
    OursSkip,
    /// The same, saving every 3 steps, letting the state that waits go for a newer one
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

    /// The script, of those that are Python's.
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

    /// What it does for a case, one process after the other.
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

    /// Bytes of memory that it is given a try with.
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

    /// Bytes on disk that it has at most at a time.
    #[must_use]
    pub fn disk_needed(self, case: &Case) -> u64 {
        let states = match self {
            Self::Limits => 1,
            Self::Loop => 0,
            _ => 4,
        };
        case.state_bytes() * states + (1 << 26)
    }

    /// What a save does that comes while another one is being written.
    fn when_busy(self) -> WhenBusy {
        match self {
            Self::OursSkip => WhenBusy::Skip,
            Self::OursReplace => WhenBusy::Replace,
            _ => WhenBusy::Wait,
        }
    }

    /// Does what the task says, in this process.
    ///
    /// # Errors
    ///
    /// What it could not do.
    pub fn run(task: &Task) -> Result<Measured> {
        let before = written_by_this_process();
        let adam = AdamConfig::new();
        let mut told = match (task.contender, task.phase) {
            (Self::Limits, _) => limits::measure(task)?,
            (Self::PlainWrite, _) => plain_write::train(task)?,
            (Self::Loop, _) => loops::compare(task)?,
            (Self::Ours, Phase::Load) => loading::ours(task)?,
            (Self::Burn, Phase::Load) => loading::burns(task)?,
            (Self::Ours | Self::SystemAllocator, _) => {
                ours::train(task, adam.init_streamed(), Pace::Apart, WhenBusy::Wait)?
            }
            (Self::OursOpaque, _) => ours::train(task, adam.init(), Pace::Apart, WhenBusy::Wait)?,
            (Self::OursSteady | Self::OursSkip | Self::OursReplace, _) => {
                ours::train(task, adam.init_streamed(), Pace::Every(EVERY), task.contender.when_busy())?
            }
            (Self::Burn, _) => burns::train(task)?,
            (Self::BurnSteady, _) => burns::train_steadily(task, EVERY as usize)?,
            (Self::Torch | Self::Lightning | Self::Orbax | Self::Safetensors, _) => {
                return Err("this one is Python's".into());
            }
        };
        told.peak = peak_of_this_process();
        let saves = told.saves.len() + usize::from(told.idle.is_some());
        if let (None, Some(before), Some(after), true) =
            (told.written, before, written_by_this_process(), saves > 0)
        {
            told.written = Some((after - before) / saves as u64);
        }
        Ok(told)
    }
}
