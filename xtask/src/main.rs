//! The project's commands, one file a verb: `cargo xtask train | soak | test | check`.

mod cargo;
mod check;
mod soak;
mod test;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Train an example and keep its checkpoints; `cargo xtask train --help` lists the flags
    #[command(disable_help_flag = true)]
    Train(train::Args),
    /// Kill training runs at random moments and compare them with undisturbed ones; `cargo xtask soak --help` lists
    /// the flags
    #[command(disable_help_flag = true)]
    Soak(soak::Args),
    /// Format, lints, documentation and every test; ends with their count
    Test,
    /// Format, lints and documentation alone
    Check,
}

fn main() -> ExitCode {
    match Args::parse().verb {
        Verb::Train(args) => train::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Test => test::run(),
        Verb::Check => check::run().map_or_else(|failed| failed, |()| ExitCode::SUCCESS),
    }
}
