//! `cargo xtask fuzz [--minutes N] ..`: builds the fuzzer and `burn-ckpt`, which it starts, and becomes it.

use std::process::ExitCode;

use crate::program::Program;

/// The program that it starts, which it finds beside itself.
const STARTED: [&str; 1] = ["burn-ckpt"];

/// Everything is the fuzzer's.
#[derive(clap::Args)]
pub struct Args {
    /// --minutes N, --seed N, --target NAME, --findings DIR, --again FILE
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds them and runs the fuzzer in this process's place.
pub fn run(args: &Args) -> ExitCode {
    Program::new("fuzz").starting(&STARTED).build_and_become(&args.arguments)
}
