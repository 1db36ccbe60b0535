//! `cargo xtask bench NAME ..`: builds a measuring program in release, and becomes it.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::program::{Program, not_found};

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
    /// What saves cost, and how long they take, beside busy processes
    Busy,
    /// What the gradient guard costs a step of char-lm
    Guard,
    /// How long an update of Adam takes, beside burn's own
    Optimizer,
    /// How fast training is, beside burn's own loop, PyTorch and JAX
    Train,
    /// What a mirror in a slow store costs a step of char-lm
    Mirror,
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
            Self::Busy => Program::new("bench-busy"),
            Self::Guard => Program::new("bench-guard"),
            Self::Optimizer => Program::new("bench-optimizer"),
            Self::Train => Program::new("bench-train"),
            Self::Mirror => Program::new("bench-mirror").features(vec!["bench/mirror".to_owned()]),
            Self::Remote => {
                let features = ["bench/remote", "burn-serve/remote"].map(str::to_owned).to_vec();
                Program::new("bench-remote").starting(&["burn-serve"]).features(features)
            }
        }
    }
}

/// Builds it and runs it in this process's place.
pub fn run(args: &Args) -> ExitCode {
    let mut arguments = args.arguments.clone();
    if matches!(args.name, Name::Train) && !asks_for_help(&arguments) {
        // What `cargo xtask train` trains with takes part too: the program of the development profile.
        let dev = args.name.program();
        match dev.build().and_then(|()| dev.path().map_err(not_found)) {
            Ok(path) => arguments.splice(0..0, ["--dev-program".to_owned(), path.display().to_string()]),
            Err(failed) => return failed,
        };
    }
    args.name.program().release().build_and_become(&arguments)
}

fn asks_for_help(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| ["-h", "--help"].contains(&argument.as_str()))
}
