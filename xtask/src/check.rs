//! `cargo xtask check`: format, lints, documentation.

use std::process::ExitCode;

use crate::cargo;

/// Stops at the first that fails.
pub fn run() -> Result<(), ExitCode> {
    cargo::run(&["fmt", "--all", "--check"])?;
    cargo::run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo::run_with(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}
