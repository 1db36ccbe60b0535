//! `cargo xtask gpu-check [--backend B] ..`: builds gpu-check in release, and becomes it.
//!
//! The program needs nothing of this machine: `target/release/gpu-check` can be carried to another that has
//! the GPU.

use std::process::ExitCode;

use crate::backend::Backend;
use crate::program::Program;

/// Everything but the backend is the program's.
#[derive(clap::Args)]
pub struct Args {
    /// --backend auto|flex|wgpu|vulkan|cuda, --autotune (measure which kernels are fastest), --build-only;
    /// then --size NAME, --saves N, --steps N, --root DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    Backend::take_for(&args.arguments, |backend| {
        let program = Program::new("gpu-check").release().features(backend.features("bench"));
        if backend.rest.iter().any(|argument| argument == "--build-only") {
            return program.build().map_or_else(|failed| failed, |()| ExitCode::SUCCESS);
        }
        program.build_and_become(backend.program_arguments())
    })
}
