//! `cargo xtask bench NAME ..`: builds a measuring program in release, and becomes it.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::cargo;

/// Everything but the name is the program's.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    name: Name,
    /// The program's own flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<String>,
}

/// The programs there are.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// What saving and loading a checkpoint cost
    Checkpoint,
    /// Training on devices of servers, beside the same on this machine's own
    Remote,
}

impl Name {
    /// The program, and those that it starts.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Checkpoint => &["bench-checkpoint", "bench-checkpoint-system"],
            Self::Remote => &["bench-remote", "burn-serve"],
        }
    }

    /// What they are built with.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Checkpoint => &[],
            Self::Remote => &["--features", "bench/remote,burn-serve/remote"],
        }
    }
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    let programs = args.name.programs();
    let mut build = vec!["build", "--release", "--workspace"];
    build.extend(args.name.features());
    build.extend(programs.iter().flat_map(|program| ["--bin", program]));
    if let Err(failed) = cargo::run(&build) {
        return failed;
    }
    cargo::become_program(cargo::Profile::Release, programs[0], |program| {
        program.args(&args.arguments);
    })
}
