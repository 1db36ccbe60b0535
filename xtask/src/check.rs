//! `cargo xtask check`: format, dependencies, packages, lints, documentation, for every backend.

mod dependencies;
mod packages;

use std::process::ExitCode;

use crate::cargo;

/// Every GPU backend at once, and what else is off by default.
const ALL_FEATURES: &str = "system-tests/wgpu,system-tests/remote,digits/vulkan,digits/cuda,digits/autotune,digits/mnist,\
                            burn-serve/vulkan,burn-serve/cuda";

/// Stops at the first that fails.
pub fn run() -> Result<(), ExitCode> {
    cargo::run(&["fmt", "--all", "--check"])?;
    packages::check()?;
    dependencies::check()?;
    cargo::run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // What is compiled only for a GPU, or for devices of other machines. Where documentation is built for docs.rs, CUDA's build script does not download
    // LLVM: the code is type-checked all the same.
    cargo::run_with(
        &["clippy", "--workspace", "--all-targets", "--features", ALL_FEATURES, "--", "-D", "warnings"],
        &[("DOCS_RS", "1")],
    )?;
    cargo::run_with(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}
