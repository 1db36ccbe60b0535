//! `cargo xtask bench NAME ..`: builds a measuring program in release, and becomes it.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::program::Program;

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
    /// How long the start of a run with many kept checkpoints takes, and what a save costs it
    Start,
    /// Whether an epoch costs as much after very many of them as at first
    Epochs,
    /// What the gradient guard costs a step of char-lm
    Guard,
    /// Training on devices of servers, beside the same on this machine's own
    Remote,
}

impl Name {
    /// The program, the programs that it starts, and what they are built with.
    fn program(self) -> Program<'static> {
        match self {
            Self::Checkpoint => Program::new("bench-checkpoint").starting(&["bench-checkpoint-system"]),
            Self::Start => Program::new("bench-start").starting(&["burn-ckpt"]),
            Self::Epochs => Program::new("bench-epochs"),
            Self::Guard => Program::new("bench-guard"),
            Self::Remote => {
                let features = ["bench/remote", "burn-serve/remote"].map(str::to_owned).to_vec();
                Program::new("bench-remote").starting(&["burn-serve"]).features(features)
            }
        }
    }
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    args.name.program().release().build_and_become(&args.arguments)
}
