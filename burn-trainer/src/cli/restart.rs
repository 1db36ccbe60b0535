//! `--restarts N`: a program that has lost a device replaces its own process by a new one.
//!
//! A thread that hangs in a lost device cannot be ended, and burn never opens a session again. A new process
//! image has no thread, session or lock of the old one, and the process id stays: a shell, systemd or Slurm
//! sees no restart.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use super::arguments;
use super::print_error::say_error;
use crate::config::TrainerConfig;
use crate::error::Error;
use crate::process::console::say;
use crate::process::progress::figures::span;

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
    let arguments = arguments::to_restart_with(&given, config);
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
