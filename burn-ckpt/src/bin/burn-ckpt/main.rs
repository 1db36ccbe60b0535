//! The program `burn-ckpt`: looks at checkpoints, checks them, compares them, and takes them to other formats and back.
//! One file a verb.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 done; 1 the thing asked about is not
//! so (damaged, different, not found); 2 wrong usage.

mod completions;
mod diff;
mod export;
mod foreign;
mod import;
mod ls;
mod prune;
mod show;
mod verify;

use std::process::ExitCode;

use burn_ckpt::Error;
use clap::{Parser, Subcommand};

/// Look at checkpoints of burn models, check them, compare them, and take them to other formats and back
#[derive(Parser)]
#[command(name = "burn-ckpt", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Ls(ls::Args),
    Show(show::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Export(export::Args),
    Import(import::Args),
    Prune(prune::Args),
    Completions(completions::Args),
}

/// Whether what was asked about is so; if it is not, the verb has said why.
type Answer = Result<bool, Failure>;

/// Why a verb could not answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Checkpoint(#[from] Error),
    #[error("{0}")]
    Other(String),
}

fn main() -> ExitCode {
    let answer = match Cli::parse().verb {
        Verb::Ls(args) => ls::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Prune(args) => prune::run(&args),
        Verb::Completions(args) => completions::run(&args),
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
