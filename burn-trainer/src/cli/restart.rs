//! `--restarts N`: a program that has lost a device replaces its own process by a new one.
//!
//! A thread that hangs in a lost device cannot be ended, and burn never opens a session again. A new process
//! image has no thread, session or lock of the old one, and the process id stays: a shell, systemd or Slurm
//! sees no restart.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use burn_ckpt::Metadata;
use jiff::Timestamp;

use super::arguments;
use super::print_error::say_error;
use crate::config::TrainerConfig;
use crate::error::Error;
use crate::process::console::say;
use crate::process::progress::figures::span;
use crate::saving::run_checkpoints;

/// Tells the restarted program how often it was restarted.
const VARIABLE: &str = "BURN_TRAINER_RESTARTED";
/// The longest wait before a restart, when no device answered at the last one.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Whether the program has restarted itself after it lost a device. It then leaves out devices that do not
/// answer.
///
/// The [module's page](crate::cli) has an example.
#[must_use]
pub fn is_restart() -> bool {
    restarted() > 0
}

fn restarted() -> u32 {
    std::env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// When this process read its arguments.
static BEGUN: OnceLock<Timestamp> = OnceLock::new();

/// Notes when this start began. Later calls do nothing.
pub(super) fn note_begin(now: Timestamp) {
    let _ = BEGUN.set(now);
}

/// Whether the newest checkpoint that the run can resume from is of this start. An older one can be of a
/// branch that this start has left, when it was asked to resume an earlier checkpoint.
pub(super) fn has_saved(config: &TrainerConfig) -> bool {
    let newest = run_checkpoints::newest_resumable(config);
    newest.is_some_and(|newest| BEGUN.get().is_none_or(|begun| is_saved_since(&newest, *begun)))
}

fn is_saved_since(checkpoint: &Path, begun: Timestamp) -> bool {
    Metadata::of_checkpoint(checkpoint).is_ok_and(|metadata| metadata.checkpoint_timestamp >= begun)
}

/// The arguments that begin once more what this start began.
pub(super) fn arguments_to_begin_again(given: &[String], config: &TrainerConfig) -> Vec<String> {
    // Those of a run that cannot be listed are left alone.
    let has_checkpoints =
        run_checkpoints::checkpoints(config).map_or(true, |present| !present.entries.is_empty());
    arguments::to_begin_again(given, config, has_checkpoints)
}

/// Restarts the program if the error is a lost device and restarts are left; then this does not return.
/// Returns the error otherwise.
pub(super) fn after(error: Error, config: &TrainerConfig) -> Error {
    let (restarts, restarted) = (config.restarts, restarted());
    let wait = match &error {
        // Connecting waits for a server that is about to come back.
        Error::DeviceLost { .. } => Duration::ZERO,
        Error::RemoteDevice { is_there: false, .. } if restarted > 0 => {
            Duration::from_secs(1 << restarted.min(6)).min(MAX_WAIT)
        }
        _ => return error,
    };
    if restarted >= restarts {
        return error;
    }
    let given = std::env::args_os().skip(1).map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let given = match given {
        Ok(given) => given,
        Err(argument) => {
            say(&format!(
                "warning: the program cannot restart with the argument {argument:?}, which is not UTF-8"
            ));
            return error;
        }
    };
    let arguments = match has_saved(config) {
        true => arguments::to_restart_with(&given, config),
        false => arguments_to_begin_again(&given, config),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(problem) => {
            say(&format!("warning: the program cannot restart: {problem}"));
            return error;
        }
    };
    say_error(&error);
    let after = if wait.is_zero() { String::new() } else { format!(" after {}", span(wait.as_secs_f64())) };
    say(&format!("restarting{after}: restart {} of {restarts}", restarted + 1));
    std::thread::sleep(wait);
    let problem =
        replace_process(Command::new(&program).args(arguments).env(VARIABLE, (restarted + 1).to_string()));
    say(&format!("warning: {} cannot restart: {problem}", program.display()));
    error
}

/// Returns only where it failed.
#[cfg(unix)]
fn replace_process(command: &mut Command) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    command.exec()
}

/// Where a process cannot replace itself, it starts the new one, waits for it, and ends with its status.
#[cfg(not(unix))]
fn replace_process(command: &mut Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
