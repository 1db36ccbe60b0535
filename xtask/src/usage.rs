//! How a verb ends when its flags are wrong.

use std::process::ExitCode;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Prints what is wrong, and is the status to end with.
pub fn wrong(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(USAGE)
}
