//! `cargo xtask soak [--kills N] ..`: builds the soak and the programs that it kills, and becomes it.

use std::process::ExitCode;

use crate::program::Program;

/// The programs that it kills, which it finds beside itself.
const KILLED: [&str; 2] = ["digits", "warmup"];

/// Everything is the soak's.
#[derive(clap::Args)]
pub struct Args {
    /// --kills N, --signal kill|term, --chaos --minutes N, --program digits|warmup|all|everything, --seed N,
    /// --keep DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds them and runs the soak in this process's place.
pub fn run(args: &Args) -> ExitCode {
    Program::new("soak").starting(&KILLED).build_and_become(&args.arguments)
}
