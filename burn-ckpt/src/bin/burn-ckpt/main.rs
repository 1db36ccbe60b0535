//! The program `burn-ckpt`: lists, tags and removes runs, and lists, shows, verifies, compares, copies,
//! describes, exports, imports, averages, watches and removes checkpoints. One file or folder a verb.
//!
//! Results are printed on standard output, everything else on standard error. Exit status: 0 success; 1 a
//! negative answer (damaged, different, not found) or an error; 2 wrong usage.

// A test makes the files that it needs.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod addresses;
mod average;
mod completions;
mod contents;
mod cp;
mod describe;
mod diff;
mod env;
mod export;
mod foreign;
mod import;
mod ls;
mod metrics;
#[cfg(feature = "mirror")]
mod mirror;
mod parallel_verify;
mod plot;
mod prune;
mod report;
mod rm;
mod runs;
mod show;
mod tag;
mod terminal;
mod trainer_settings;
mod verb_result;
mod verify;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use burn_ckpt::chain;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::terminal::{output, warnings};
use crate::verb_result::{Failure, VerbResult};

/// How the lines begin that follow an error of clap's.
const USAGE: [&str; 2] = ["Usage: ", "For more information"];

/// List, compare, draw and remove runs of burn models, and list, verify, copy, convert and remove their
/// checkpoints
#[derive(Parser)]
#[command(name = "burn-ckpt", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Runs(runs::Args),
    Log(metrics::log::Args),
    Csv(metrics::csv::Args),
    Plot(plot::Args),
    Report(report::Args),
    Ls(ls::Args),
    Show(show::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Describe(describe::Args),
    Export(export::Args),
    Import(import::Args),
    Average(average::Args),
    Cp(cp::Args),
    #[cfg(feature = "mirror")]
    Mirror(mirror::Args),
    #[cfg(not(feature = "mirror"))]
    #[command(hide = true)]
    Mirror(addresses::WithoutMirror),
    Prune(prune::Args),
    Tag(tag::Args),
    Rm(rm::Args),
    Watch(watch::Args),
    Env(env::Args),
    Completions(completions::Args),
}

/// Gives SIGXFSZ a handler that does nothing: a write beyond the limit of a file's size (`ulimit -f`) is then
/// an error, and does not end the program without a word.
fn make_file_size_limit_an_error() {
    #[cfg(unix)]
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default()) {
        output::say(format!("warning: a file that reaches the limit of its size ends this program: {error}"));
    }
}

fn run(verb: Verb) -> VerbResult {
    match verb {
        Verb::Runs(args) => runs::run(&args),
        Verb::Log(args) => metrics::log::run(&args),
        Verb::Csv(args) => metrics::csv::run(&args),
        Verb::Plot(args) => plot::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Ls(args) => ls::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Describe(args) => describe::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Average(args) => average::run(&args),
        Verb::Cp(args) => cp::run(&args),
        #[cfg(feature = "mirror")]
        Verb::Mirror(args) => mirror::run(&args),
        #[cfg(not(feature = "mirror"))]
        Verb::Mirror(_) => Err(addresses::without_mirror()),
        Verb::Prune(args) => prune::run(&args),
        Verb::Tag(args) => tag::run(&args),
        Verb::Rm(args) => rm::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Env(args) => env::run(&args),
        Verb::Completions(args) => completions::run(&args, &mut Cli::command()),
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments: with how to use the verb, but
/// with --json in one line, as every error.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    // What follows is a path, or a word of the program that `watch` starts.
    let is_own = |word: &OsString| word != "--" && word != "--exec";
    let wants_json = || std::env::args_os().take_while(is_own).any(|word| word == "--json");
    if !error.use_stderr() || !wants_json() {
        error.exit();
    }
    let text = error.render().to_string();
    let said = text.lines().take_while(|line| !USAGE.iter().any(|start| line.starts_with(start)));
    output::say(said.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "));
    ExitCode::from(2)
}

fn main() -> ExitCode {
    make_file_size_limit_an_error();
    warnings::print_warnings();
    let mut command = Cli::command();
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => return wrong_usage(&error),
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    match addresses::check(&command, &matches).and_then(|()| run(cli.verb)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output::say(format!("error: {}", chain(&failure)));
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                Failure::Listed { list, .. } => {
                    list.iter().for_each(|line| output::say(format!("  {line}")));
                    ExitCode::FAILURE
                }
                Failure::Checkpoint(_) | Failure::Other(_) => ExitCode::FAILURE,
            }
        }
    }
}
