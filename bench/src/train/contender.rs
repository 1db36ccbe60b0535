//! Who takes part, and how the process of each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::child_process::{self, limit_threads, measurement};
use crate::program::Result;

use super::task::{Measured, Task, VERB};

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// This project's trainer
    Ours,
    /// burn's own loop
    Burn,
    /// PyTorch, in eager mode
    Torch,
    /// Lightning's loop, with its ModelCheckpoint; where states are saved
    Lightning,
    /// JAX, the step compiled as one
    Jax,
}

/// A contender as it takes part: by one program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arm {
    /// The contender.
    pub(crate) contender: Contender,
    /// The profile that its program was built with, if it is one of this workspace.
    pub(crate) profile: Option<&'static str>,
    /// This program, or Python.
    program: PathBuf,
}

/// The profile that this program was built with.
fn own_profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

/// All arms of these contenders, or of all of them.
///
/// # Errors
///
/// When this program's path is unknown, or that of Python cannot be made absolute.
pub(crate) fn arms(contenders: &[Contender], dev_program: Option<&Path>, python: &Path) -> Result<Vec<Arm>> {
    let contenders = if contenders.is_empty() { Contender::value_variants() } else { contenders };
    // A name is left to be found in `PATH`.
    let python = match python.components().count() {
        0 | 1 => python.to_path_buf(),
        _ => std::path::absolute(python)?,
    };
    let own = std::env::current_exe()?;
    let mut arms = Vec::new();
    for contender in contenders {
        let arm =
            |profile, program: &Path| Arm { contender: *contender, profile, program: program.to_path_buf() };
        if contender.script().is_some() {
            arms.push(arm(None, &python));
            continue;
        }
        arms.push(arm(Some(own_profile()), &own));
        if let Some(program) = dev_program {
            arms.push(arm(Some("dev"), &std::path::absolute(program)?));
        }
    }
    Ok(arms)
}

impl Contender {
    /// Its name on the command line of a process.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Burn => "burn",
            Self::Torch => "torch",
            Self::Lightning => "lightning",
            Self::Jax => "jax",
        }
    }

    /// The Python script, for the peers in Python.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Torch => Some("train_torch.py"),
            Self::Lightning => Some("train_lightning.py"),
            Self::Jax => Some("train_jax.py"),
            Self::Ours | Self::Burn => None,
        }
    }
}

impl Arm {
    /// Its name in a table.
    pub(crate) fn title(&self) -> String {
        let title = match self.contender {
            Contender::Ours => "burn-trainer",
            Contender::Burn => "burn's own loop",
            Contender::Torch => "PyTorch",
            Contender::Lightning => "Lightning",
            Contender::Jax => "JAX",
        };
        self.profile.map_or_else(|| title.to_owned(), |profile| format!("{title}, {profile}"))
    }

    /// Whether it trains where states are saved so often, or never, in a page that is about saves or not.
    pub(crate) fn takes_part(&self, save_every: usize, is_about_saves: bool) -> bool {
        match self.contender {
            Contender::Ours | Contender::Torch => true,
            Contender::Burn | Contender::Jax => save_every == 0,
            Contender::Lightning => is_about_saves,
        }
    }

    /// Whether it can be said where its time goes: burn's loop computes the same operations as ours.
    pub(crate) fn has_operations(&self) -> bool {
        matches!(self.contender, Contender::Ours | Contender::Torch)
    }

    /// Whether it is a program of this workspace, compiled to machine code with its names.
    pub(crate) fn is_own(&self) -> bool {
        self.contender.script().is_none()
    }

    /// The command of a process that does a task.
    ///
    /// # Errors
    ///
    /// When a peer's script cannot be written.
    pub(crate) fn command(&self, task: &Task, dir: &Path) -> Result<Command> {
        std::fs::create_dir_all(&task.run_dir)?;
        let json = serde_json::to_string(task)?;
        let mut command = match self.contender.script() {
            Some(script) => child_process::python(dir, &self.program, script, &json)?,
            None => {
                let mut command = Command::new(&self.program);
                command.args([VERB, self.contender.name(), json.as_str()]);
                command
            }
        };
        limit_threads(&mut command, task.threads);
        Ok(command)
    }

    /// Does a task in a process of its own.
    ///
    /// # Errors
    ///
    /// A sentence that says why there is no measurement.
    pub(crate) fn run(&self, task: &Task, dir: &Path, limit: u64) -> Result<Measured> {
        let measured = measurement(self.command(task, dir)?, dir, limit);
        std::fs::remove_dir_all(&task.run_dir)?;
        measured
    }
}
