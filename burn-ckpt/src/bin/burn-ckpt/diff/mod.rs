//! `burn-ckpt diff`: in what two checkpoints differ.

mod differences;
mod report;

use std::path::PathBuf;

use burn_ckpt::Checkpoint;

use crate::answer::{Answer, Failure};
use crate::contents::Contents;
use crate::ls::listing::reason;
use crate::terminal::output::{Output, say};
use differences::Differences;

/// Compare two checkpoints
///
/// Compares the sections, the tensors, the scalars (an optimizer's time steps), hyperparameters, metrics,
/// epoch and step, git state, packages, compiler, system and hardware; not the names of runs and files,
/// times, and why they were saved.
///
/// Tensors are compared by the digests in the metadata, so that none is read; of a file that has no metadata
/// they are computed. (`burn-ckpt verify` tells whether a file is what its metadata says.)
///
/// Exit status, as of diff: 0 where nothing differs, 1 where something does, and 1 with an error on standard
/// error where that cannot be told.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A checkpoint: a file, a link, RUN/best, RUN/last
    a: PathBuf,
    /// The other one
    b: PathBuf,
    /// Print long lists and long values whole
    #[arg(long)]
    all: bool,
    /// Print JSON: all of it
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

pub fn run(args: &Args) -> Answer {
    let open = |path: &PathBuf| -> Result<Contents, Failure> { Contents::of(Checkpoint::open(path)?) };
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    for contents in [&a, &b] {
        if let Err(error) = &contents.metadata {
            say(format!(
                "warning: {}: {}; metrics, epoch and step, git state, packages and machine are not compared",
                contents.checkpoint.path().display(),
                reason(error)
            ));
        }
    }
    let differences = Differences::between(&a, &b)?;
    let differ = differences.are_there();
    let mut output = Output::new();
    let [shown_a, shown_b] = [&a, &b].map(|contents| contents.checkpoint.path().display().to_string());
    if args.json {
        output.json(&report::as_json(&differences, &shown_a, &shown_b))?;
    } else if differ {
        output.line(format!("A  {shown_a}\nB  {shown_b}\n"))?;
        report::print(&differences, args.all, &mut output)?;
    } else {
        output.line(report::same(&differences))?;
    }
    output.flush()?;
    Ok(!differ)
}
