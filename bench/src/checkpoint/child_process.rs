//! Runs a task in a process of its own: this program with a hidden verb, or a peer's script.

use std::path::Path;
use std::process::Command;

use crate::child_process::{limit_threads, measurement, python as python_command};
use crate::program::Result;

use super::contender::{Contender, Phase};
use super::measurement::Measurement;
use super::task::Task;

/// The hidden verb with which the program starts itself as a child process.
pub const VERB: &str = "contender";
/// The program with the system's allocator, beside this one.
const WITH_SYSTEM_ALLOCATOR: &str = "bench-checkpoint-system";

/// Runs a task in a process of its own.
///
/// # Errors
///
/// A sentence that says why there is no measurement.
pub fn run(task: &Task, python: &Path) -> Result<Measurement> {
    std::fs::create_dir_all(&task.dir)?;
    let mut command = match task.contender.script() {
        Some(script) => python_command(&task.dir, python, script, &serde_json::to_string(task)?)?,
        None => own_command(task)?,
    };
    if task.phase != Phase::Load {
        limit_threads(&mut command, task.threads);
    }
    measurement(command, &task.dir, task.limit)
}

fn own_command(task: &Task) -> Result<Command> {
    let program = std::env::current_exe()?;
    let program = match task.contender {
        Contender::SystemAllocator => {
            program.with_file_name(format!("{WITH_SYSTEM_ALLOCATOR}{}", std::env::consts::EXE_SUFFIX))
        }
        _ => program,
    };
    let mut command = Command::new(program);
    command.arg(VERB).arg(serde_json::to_string(task)?);
    Ok(command)
}
