//! `burn-ckpt diff`: the differences between two checkpoints.

mod differences;
mod report;

use std::path::PathBuf;

use burn_ckpt::Checkpoint;

use crate::contents::Contents;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};
use differences::Differences;

/// Compare two checkpoints
///
/// Compares sections, tensors, scalars (such as an optimizer's time steps), hyperparameters, the trainer's
/// settings, metrics, epoch and step, git state, packages, compiler, system and hardware. Does not compare
/// the names, tags and places of runs and files, times, and the reasons of saves.
///
/// Tensors are compared by the digests in the metadata, without reading them. For a file without metadata the
/// digests are computed. (`burn-ckpt verify` compares a file with its metadata.) A section in which almost
/// all tensors have other values is one line; --all lists each.
///
/// Exit status: 0 if there is no difference, 1 if there is one. Also 1, with a line on standard error, if the
/// checkpoints cannot be compared, or one of them is damaged.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint: a file, a link, RUN/best, RUN/last
    a: PathBuf,
    /// The other one
    b: PathBuf,
    /// Print long lists and long values whole
    #[arg(long)]
    all: bool,
    /// Print everything as JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let open = |path: &PathBuf| -> Result<Contents, Failure> { Contents::of(Checkpoint::open(path)?) };
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let mut are_whole = true;
    for contents in [&a, &b] {
        let Some(problem) = contents.problem() else { continue };
        are_whole &= !problem.is_damage;
        let not_compared = match &contents.metadata {
            Ok(_) => "",
            Err(_) => {
                "; metrics, trainer settings, epoch and step, git state, packages and machine are not compared"
            }
        };
        say(format!("warning: {}{not_compared}", problem.text));
    }
    let differences = Differences::between(&a, &b)?;
    let differ = differences.any();
    let mut output = Output::new();
    let [shown_a, shown_b] = [&a, &b].map(|contents| contents.checkpoint.path().display().to_string());
    if args.json {
        output.json(&report::as_json(&differences, &shown_a, &shown_b))?;
    } else if differ {
        let [a, b] = [&shown_a, &shown_b].map(|shown| in_one_line(shown));
        output.line(format!("A  {a}\nB  {b}\n"))?;
        report::print(&differences, args.all, &mut output)?;
    } else {
        output.line(report::same(&differences))?;
    }
    output.flush()?;
    Ok(!differ && are_whole)
}
