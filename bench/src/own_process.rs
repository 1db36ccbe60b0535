//! A program that measures in processes of its own, each of which trains a run: the same program with a
//! hidden verb.

use std::process::{Command, ExitCode};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::program::{Result, exit_code};

/// The hidden verb of the program's own processes.
const VERB: &str = "train";

/// The program: measures, or is one of its own processes, which trains what it is told and prints what it has
/// measured.
pub(crate) fn main<T: DeserializeOwned, M: Serialize>(
    measure: fn() -> Result<()>,
    train: fn(T) -> Result<M>,
) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let trained = |task: &str| {
        println!("{}", serde_json::to_string(&train(serde_json::from_str(task)?)?)?);
        Ok(())
    };
    exit_code(match arguments.next().as_deref() {
        Some(VERB) => trained(&arguments.next().unwrap_or_default()),
        _ => measure(),
    })
}

/// Trains in a process of its own. Returns what it has measured.
pub(crate) fn train_alone<M: DeserializeOwned>(task: &impl Serialize) -> Result<M> {
    let output = own(task)?.output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.lines().last().unwrap_or_default())?)
}

/// The command that is one of the program's processes.
pub(crate) fn own(task: &impl Serialize) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VERB).arg(serde_json::to_string(task)?);
    Ok(command)
}
