//! `--restarts N`: a program that has lost a device starts itself again, in the place of its own process.
//!
//! What hangs in a lost device cannot be ended from within, and burn never connects a device again whose session has ended.
//! A new process image has neither: no thread, no session, no lock of the old one is left, and whoever waits for
//! the process (a shell, systemd, Slurm) notices nothing.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use burn_ckpt::plumbing::chain;

use super::arguments;
use crate::config::TrainerConfig;
use crate::error::Error;
use crate::process::console::say;

/// Tells the program that was started again how often that has been.
const VARIABLE: &str = "BURN_TRAINER_RESTARTED";
/// The longest wait before a start, when nothing has answered at the last one.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Whether the program has started itself again after it lost a device, so that one that does not answer is to be done
/// without.
#[must_use]
pub fn is_restart() -> bool {
    restarted() > 0
}

fn restarted() -> u32 {
    std::env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Starts the program again, if the error is the loss of a device and restarts are left; then this does not return. Returns
/// the error otherwise.
pub(super) fn after(error: Error, config: &TrainerConfig) -> Error {
    let (restarts, restarted) = (config.restarts, restarted());
    let wait = match &error {
        // A server that is about to come back is waited for while it is connected to.
        Error::DeviceLost { .. } => Duration::ZERO,
        Error::RemoteDevice { is_there: false, .. } if restarted > 0 => {
            Duration::from_secs(1 << restarted.min(6)).min(MAX_WAIT)
        }
        _ => return error,
    };
    if restarted >= restarts {
        return error;
    }
    let run_id = config.run_id.as_deref().unwrap_or_default();
    let given = std::env::args_os().skip(1).map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let given = match given {
        Ok(given) => given,
        Err(argument) => {
            say(&format!("warning: the program cannot be started again with {argument:?}, which is no text"));
            return error;
        }
    };
    let arguments = arguments::to_restart_with(&given, run_id, config.max_epochs);
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(problem) => {
            say(&format!("warning: the program cannot be started again: {problem}"));
            return error;
        }
    };
    say(&format!("error: {}", chain(&error)));
    let after = if wait.is_zero() { String::new() } else { format!(" after {wait:?}") };
    say(&format!("starting again{after}: restart {} of {restarts}", restarted + 1));
    std::thread::sleep(wait);
    let problem =
        replace_process(Command::new(&program).args(arguments).env(VARIABLE, (restarted + 1).to_string()));
    say(&format!("warning: {} cannot be started again: {problem}", program.display()));
    error
}

/// Returns only where it failed.
#[cfg(unix)]
fn replace_process(command: &mut Command) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    command.exec()
}

/// Where a process cannot become another one, it waits for it and ends as that does.
#[cfg(not(unix))]
fn replace_process(command: &mut Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
