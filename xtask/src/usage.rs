//! How every verb reports wrong usage, and that it failed.

use std::process::ExitCode;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Prints what is wrong. Returns the status to end with.
pub fn wrong_usage(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(USAGE)
}

/// Prints why a verb failed. Returns the status to end with.
pub fn failed(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
