//! One set of artifacts for all checks: the crates of others as all features of the workspace want them.

use std::process::ExitCode;

use crate::cargo;

/// Turns on, in the crates of others, what all features of the workspace turn on in them.
pub const FEATURE: &str = "unified-features/on";

/// Where documentation is built for docs.rs, CUDA's build script does not download LLVM: the code is
/// type-checked all the same.
const CUDA_UNBUILT: (&str, &str) = ("DOCS_RS", "1");

/// Runs cargo with variables set.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), ExitCode> {
    cargo::run_with(arguments, &[variables, &[CUDA_UNBUILT]].concat())
}
