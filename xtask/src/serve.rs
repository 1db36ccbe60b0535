//! `cargo xtask serve [--backend B] ..`: builds the server of this machine's devices for a backend, and
//! becomes it.

use std::process::ExitCode;

use crate::backend::Backend;
use crate::program::Program;

const PROGRAM: &str = "burn-serve";

/// Everything but the backend is the server's.
#[derive(clap::Args)]
pub struct Args {
    /// --backend auto|flex|wgpu|vulkan|cuda, --autotune (measure which kernels are fastest), and the server's
    /// flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds the server and runs it in this process's place, so that its exit status and signals are its own.
pub fn run(args: &Args) -> ExitCode {
    Backend::take_for(&args.arguments, |backend| {
        Program::new(PROGRAM).features(features(&backend)).build_and_become(backend.program_arguments())
    })
}

/// Those of the backend, and what makes the server a program.
fn features(backend: &Backend) -> Vec<String> {
    let mut features = backend.features(PROGRAM);
    features.push(format!("{PROGRAM}/remote"));
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_built_for_its_backend() {
        for (words, built) in [
            (vec!["--backend", "flex", "--websocket"], "burn-serve/remote"),
            (vec!["--websocket", "--backend=cuda"], "burn-serve/cuda,burn-serve/remote"),
            (
                vec!["--backend", "wgpu", "--autotune", "--websocket"],
                "burn-serve/wgpu,burn-serve/autotune,burn-serve/remote",
            ),
        ] {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let backend = Backend::taken_from(&words).unwrap();
            assert_eq!(features(&backend).join(","), built);
            assert_eq!(backend.rest, ["--websocket"]);
        }
    }
}
