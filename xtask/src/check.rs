//! `cargo xtask check`: tidiness, format, dependencies, packages, lints, documentation, for every backend.

mod dependencies;
mod features;
mod packages;
mod unified;

use std::process::ExitCode;

use crate::cargo::timed;
use crate::{cargo, tidy};

/// Stops at the first that fails.
pub fn run() -> Result<(), ExitCode> {
    // The fastest first.
    tidy::run()?;
    cargo::run(&["fmt", "--all", "--check"])?;
    timed("packages", packages::check)?;
    timed("dependencies", dependencies::check)?;
    // What is compiled only for a GPU, or for devices of other machines, too.
    let lints = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    timed("lints of all features", || unified::run(&lints, &[]))?;
    // And what is compiled where they are off.
    let lints =
        ["clippy", "--workspace", "--all-targets", "--features", unified::FEATURE, "--", "-D", "warnings"];
    timed("lints", || unified::run(&lints, &[]))?;
    timed("each feature alone", features::check)?;
    let documentation = ["doc", "--workspace", "--no-deps", "--features", unified::FEATURE];
    timed("documentation", || unified::run(&documentation, &[("RUSTDOCFLAGS", "-D warnings")]))
}
