//! `cargo xtask check`: tidiness, format, dependencies, packages, lints, documentation, for every backend.

mod dependencies;
mod features;
mod packages;

use std::process::ExitCode;

use crate::{cargo, tidy};

/// Stops at the first that fails.
pub fn run() -> Result<(), ExitCode> {
    // The fastest first.
    tidy::run()?;
    cargo::run(&["fmt", "--all", "--check"])?;
    packages::check()?;
    dependencies::check()?;
    cargo::run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // What is compiled only for a GPU, or for devices of other machines. Where documentation is built for
    // docs.rs, CUDA's build script does not download LLVM: the code is type-checked all the same.
    cargo::run_with(
        &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
        &[("DOCS_RS", "1")],
    )?;
    features::check()?;
    cargo::run_with(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}
