//! `cargo xtask soak [--kills N] ..`: builds the soak and the programs that it kills, and becomes it.

use std::process::ExitCode;

use crate::cargo;

/// The soak, and what it finds beside itself.
const PROGRAMS: [&str; 3] = ["soak", "digits", "warmup"];

/// Everything is the soak's.
#[derive(clap::Args)]
pub struct Args {
    /// --kills N, --signal kill|term, --program digits|warmup|all, --seed N, --keep DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// Builds them and runs the soak in this process's place.
pub fn run(args: &Args) -> ExitCode {
    let mut build = vec!["build", "--workspace"];
    build.extend(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    if let Err(failed) = cargo::run(&build) {
        return failed;
    }
    cargo::become_program(cargo::Profile::Dev, PROGRAMS[0], |soak| {
        soak.args(&args.arguments);
    })
}
