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
    /// --backend auto|flex|wgpu|vulkan|cuda, --also BACKEND (build for this one too), --autotune (measure
    /// which kernels are fastest), --build-only; then --size NAME, --saves N, --steps N, --root DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    Backend::take_for(&args.arguments, |mut backend| {
        let mut features = backend.features("bench");
        features.extend(also(&mut backend.rest).map(|name| format!("bench/{name}")));
        let program = Program::new("gpu-check").release().features(features);
        if backend.rest.iter().any(|argument| argument == "--build-only") {
            return program.build().map_or_else(|failed| failed, |()| ExitCode::SUCCESS);
        }
        program.build_and_become(backend.program_arguments())
    })
}

/// Takes `--also BACKEND` out of the arguments. cargo says which features there are.
fn also(arguments: &mut Vec<String>) -> Option<String> {
    let position = arguments.iter().position(|argument| argument == "--also")?;
    let mut flag = arguments.drain(position..(position + 2).min(arguments.len()));
    flag.nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_backend_is_a_feature_and_no_argument_of_the_program() {
        let mut arguments = ["--also", "vulkan", "--saves", "3"].map(str::to_owned).to_vec();
        assert_eq!(also(&mut arguments).as_deref(), Some("vulkan"));
        assert_eq!(arguments, ["--saves", "3"]);
        assert_eq!(also(&mut arguments), None);
    }
}
