//! The program `burn-ckpt`: looks at checkpoints, checks them, compares them, and takes them to other formats and back.
//! One verb looks at the machine instead. One file a verb.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 done; 1 the thing asked about is not
//! so (damaged, different, not found); 2 wrong usage.

mod answer;
mod checking;
mod completions;
mod contents;
mod diff;
mod env;
mod export;
mod foreign;
mod import;
mod ls;
mod prune;
mod show;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::answer::Failure;
use crate::terminal::output;

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
        Verb::Completions(args) => completions::run(&args, &mut Cli::command()),
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
