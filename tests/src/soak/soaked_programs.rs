//! The programs that are soaked, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The run's id, the same in every directory, so that their contents can be compared.
pub(super) const RUN_ID: &str = "r1";
/// Optimizer steps that a run gets for each kill. With fewer, most kills would hit a start; with more, the
/// soak takes longer than it has to.
const STEPS_PER_KILL: u64 = 10;
/// Threads that prepare batches, one number after the other.
pub const WORKERS: [usize; 3] = [0, 1, 2];

/// Where the best checkpoints are of a program that saves them outside of its run, below its root.
pub(super) const OUTSIDE: &str = "burn_trainer_logs.outside";

/// In what files a program saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Each state in one, in the run's directory.
    OneFile,
    /// Each state in several.
    SeveralFiles,
    /// The best ones outside of the run's directory.
    Outside,
}

impl Layout {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::OneFile, Self::SeveralFiles, Self::Outside];
}

/// A training program on `burn_trainer::cli`, with its arguments.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is called in messages.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments, but for those that name the run.
    pub arguments: Vec<String>,
    /// The most batches between two optimizer steps, on all devices, with those of steps that are left out
    /// between them.
    pub batches_per_step: u64,
}

impl Program {
    /// The same program, which saves in other files.
    pub(super) fn with_layout(mut self, which: Which, layout: Layout) -> Self {
        let (name, setting) = match layout {
            Layout::OneFile => return self,
            Layout::SeveralFiles => ("several files", format!("max_file_bytes={}", which.file_bytes())),
            // Relative to the directory of the links.
            Layout::Outside => ("best outside", format!("strategies.0.dirpath=\"../../../{OUTSIDE}/best\"")),
        };
        self.name = format!("{}, {name}", self.name);
        self.arguments.extend(["--set".to_owned(), setting]);
        self
    }

    /// Trains the run below a directory, from its newest checkpoint on.
    pub(super) fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["--run-id", RUN_ID, "--ckpt-path", "auto", "--root"]).arg(root).args(&self.arguments);
        command
    }
}

/// A program that can be soaked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Convolutions, batch normalisation and dropout: `examples/digits`.
    Digits,
    /// Dropout, Adam, a warm-up schedule, and gradients of four batches: `warmup`.
    Warmup,
    /// The same with all callbacks, early stopping, and validations within epochs.
    Everything,
    /// The same on two devices.
    EverythingOnTwo,
}

impl Which {
    /// Those of which the state is small, for many runs.
    pub const ALL: [Self; 2] = [Self::Digits, Self::Warmup];
    /// With everything on at once.
    pub const EVERYTHING: [Self; 2] = [Self::Everything, Self::EverythingOnTwo];

    /// The name of its executable.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Warmup | Self::Everything | Self::EverythingOnTwo => "warmup",
        }
    }

    /// What it is called in messages, and in a directory's name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::EverythingOnTwo => "everything-on-2-devices",
            other => other.name(),
        }
    }

    fn steps_per_epoch(self) -> u64 {
        match self {
            Self::Digits => 45,
            Self::Warmup => 8,
            // Some steps are left out.
            Self::Everything => 6,
            Self::EverythingOnTwo => 2,
        }
    }

    /// Less than a state has, and more than its index.
    fn file_bytes(self) -> u64 {
        match self {
            Self::Digits => 250_000,
            Self::Warmup => 165_000,
            Self::Everything | Self::EverythingOnTwo => 180_000,
        }
    }

    /// The program in `directory`, set to train for as long as so many kills take.
    #[must_use]
    pub fn program(self, directory: &Path, kills: u64, workers: usize) -> Program {
        let epochs = 2 + (kills * STEPS_PER_KILL).div_ceil(self.steps_per_epoch());
        let (accumulation, save_every) = match self {
            Self::Digits => (1, 3),
            Self::Warmup | Self::Everything | Self::EverythingOnTwo => (4, 2),
        };
        let devices: u64 = if self == Self::EverythingOnTwo { 2 } else { 1 };
        let has_everything = Self::EVERYTHING.contains(&self);
        // The next optimizer step is the first that makes another state to save.
        let most_left_out: u64 = if has_everything { 2 } else { 0 };
        let everything = match has_everything {
            true => format!(
                r#" --set everything=true --set devices={devices} --set validation={{"every_n_steps":7}} --set early_stopping={{"metric":"val_loss","patience":10000}}"#
            ),
            false => String::new(),
        };
        let arguments = format!(
            "--epochs {epochs} --topk 2 --save-every-steps {save_every} --set num_workers={workers} \
             --set grads_accumulation={accumulation}{everything}"
        );
        Program {
            name: format!("{} ({workers} workers)", self.title()),
            path: directory.join(format!("{}{}", self.name(), std::env::consts::EXE_SUFFIX)),
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            batches_per_step: accumulation * devices * (1 + most_left_out),
        }
    }
}
