//! `cargo xtask check`: tidiness, format, dependencies, packages, lints, documentation, for every backend.

mod dependencies;
mod features;
mod packages;

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
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    timed("lints", || cargo::run(&lints))?;
    // What is compiled only for a GPU, or for devices of other machines. Where documentation is built for
    // docs.rs, CUDA's build script does not download LLVM: the code is type-checked all the same.
    let lints = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    timed("lints of all features", || cargo::run_with(&lints, &[("DOCS_RS", "1")]))?;
    timed("each feature alone", features::check)?;
    let documentation = ["doc", "--workspace", "--no-deps"];
    timed("documentation", || cargo::run_with(&documentation, &[("RUSTDOCFLAGS", "-D warnings")]))
}
