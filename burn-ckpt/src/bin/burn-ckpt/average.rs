//! `burn-ckpt average`: the mean of the models of several checkpoints.

use std::collections::HashSet;
use std::path::PathBuf;

use burn_ckpt::plumbing::{average_with, is_address, is_there, metadata_path};
use burn_ckpt::{Catalog, Checkpoint, Section};
use indexmap::IndexSet;

use crate::addresses::takes_none;
use crate::foreign::{self, print_written};
use crate::ls::listing::reason;
use crate::runs::run_directory::run_with_checkpoints;
use crate::show::averages::{self, OF_CHECKPOINTS};
use crate::terminal::figures;
use crate::terminal::output::{Output, say};
use crate::verb_result::{Failure, VerbResult};

/// Average the models of checkpoints
///
/// Writes a checkpoint of weights: each tensor of floats is the mean of those in the checkpoints, computed in
/// f64 and rounded once. Tensors of other types, hyperparameters and epoch are those of the checkpoint that
/// was saved last. The checkpoints must have the same hyperparameters and the same tensors. The result has no
/// metrics and no optimizer. Its section user.average names the checkpoints with their digests. Prints since
/// which step the average is.
///
/// Running statistics of batch normalisation are averaged too. They are not those of the averaged model.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoints, or with --last a run's directory
    #[arg(value_name = "CKPT", required = true)]
    checkpoints: Vec<PathBuf>,
    /// Average the N newest states of a run
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// The checkpoint to write; its metadata is written beside it
    #[arg(short = 'o', long, value_name = "OUT.ckpt")]
    out: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the average.
pub fn run(args: &Args) -> VerbResult {
    foreign::check_destination(&args.out, args.force)?;
    foreign::check_checkpoint_name(&args.out)?;
    // Metadata without a checkpoint describes nothing, and is replaced without --force.
    foreign::check_destination(&metadata_path(&args.out), true)?;
    let inputs = match args.last {
        Some(count) => newest(args, count)?,
        None => args.checkpoints.clone(),
    };
    if inputs.len() < 2 {
        let message = "an average has at least 2 checkpoints: name more, or a run with --last N";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut runs = IndexSet::new();
    for input in &inputs {
        let checkpoint = Checkpoint::open(input)?;
        runs.insert(checkpoint.metadata()?.run_id);
        if foreign::same_file(checkpoint.path(), &args.out)? {
            return Err(Failure::Other(format!("{} would be overwritten while it is read", input.display())));
        }
        if args.last.is_some() {
            say(format!("averaged: {}", input.display()));
        }
    }
    say_if_several(runs);
    average_with(&inputs, &args.out, foreign::existing(args.force))?;
    let written = Checkpoint::open(&args.out)?;
    let average = averages::of_section(OF_CHECKPOINTS, &written.section(OF_CHECKPOINTS)?);
    if let Some(average) = average.filter(|_| !args.json) {
        let mut output = Output::new();
        output.line(average)?;
        output.flush()?;
    }
    print_written(&args.out, written.section(Section::MODEL)?.tensors.len(), args.json)
}

/// Models of several runs have a mean that is of use if they began with the same weights, which no checkpoint
/// says.
fn say_if_several(runs: IndexSet<String>) {
    if runs.len() > 1 {
        let runs = runs.into_iter().collect::<Vec<_>>().join(", ");
        say(format!(
            "note: the checkpoints are of several runs ({runs}): a mean is of use if these began with the same weights"
        ));
    }
}

/// The newest states of a run, oldest first. One that has several names is listed once.
fn newest(args: &Args, count: usize) -> Result<Vec<PathBuf>, Failure> {
    let [run] = args.checkpoints.as_slice() else {
        return Err(Failure::Usage("with --last, name one run's directory".to_owned()));
    };
    if is_address(run) {
        return Err(takes_none("average --last", "RUN"));
    }
    let catalog = Catalog::scan(&run_with_checkpoints(run)?)?;
    // The run may be training: what it deletes meanwhile is not damaged.
    let damaged: Vec<_> = catalog.broken.iter().filter(|(path, _)| is_there(path).unwrap_or(true)).collect();
    for (path, error) in &damaged {
        say(format!("left out: {}: {}", path.display(), reason(error)));
    }
    let mut seen = HashSet::new();
    let mut newest = Vec::new();
    for entry in catalog.entries.iter().rev() {
        let state = (entry.metadata.global_step, entry.metadata.checkpoint_timestamp);
        if let Some(found) = entry.metadata.found_non_finite() {
            say(format!("left out: {} has {found}", entry.path.display()));
            continue;
        }
        if newest.len() < count && seen.insert(state) {
            newest.push(entry.path.clone());
        }
    }
    if newest.len() < count {
        let advice = match damaged.is_empty() {
            true => "ask for fewer, or keep more of them by topk",
            false => "ask for fewer, or restore the files that are left out",
        };
        return Err(Failure::Other(format!(
            "{} has {}, and {count} are asked for: {advice}",
            run.display(),
            figures::count(newest.len(), if damaged.is_empty() { "state" } else { "whole state" })
        )));
    }
    newest.reverse();
    Ok(newest)
}
