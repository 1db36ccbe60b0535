//! The program `burn-ckpt`: looks at checkpoints, checks them, compares them, and takes them to other formats and back.
//! One verb looks at the machine instead. One file a verb.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 done; 1 the thing asked about is not
//! so (damaged, different, not found); 2 wrong usage.

mod checking;
mod completions;
mod contents;
mod diff;
mod env;
mod export;
mod figures;
mod foreign;
mod import;
mod listing;
mod ls;
mod output;
mod prune;
mod show;
mod table;
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
    Env(env::Args),
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
    /// What was asked for cannot be answered in that form; the message says which form can.
    #[error("{0}")]
    Usage(String),
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
        Verb::Env(args) => env::run(&args),
        Verb::Completions(args) => completions::run(&args),
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output::say(format!("error: {failure}"));
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
