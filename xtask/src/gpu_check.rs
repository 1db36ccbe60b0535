//! `cargo xtask gpu-check [--backend B] ..`: builds gpu-check in release, and becomes it.
//!
//! The program needs nothing of this machine: `target/release/gpu-check` can be carried to another that has the GPU.

use std::process::ExitCode;

use crate::backend::Backend;
use crate::program::Program;
use crate::usage::wrong_usage;

/// Everything but the backend is the program's.
#[derive(clap::Args)]
pub struct Args {
    /// --backend auto|flex|wgpu|vulkan|cuda, --autotune (measure which kernels are fastest), --build-only; then
    /// --size NAME, --saves N, --steps N, --root DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    let backend = match Backend::taken_from(&args.arguments) {
        Ok(backend) => backend,
        Err(message) => return wrong_usage(&message),
    };
    let (build_only, arguments): (Vec<_>, Vec<_>) =
        backend.rest.iter().partition(|argument| *argument == "--build-only");
    let program = Program::new("gpu-check").release().features(backend.features("bench"));
    if !build_only.is_empty() {
        return program.build().map_or_else(|failed| failed, |()| ExitCode::SUCCESS);
    }
    let chosen = ["--backend".to_owned(), backend.name.clone()];
    program.build_and_become(chosen.iter().chain(arguments))
}
