//! `burn-ckpt runs`: the runs of a directory, a line each: how they ended, how far they are, their best
//! value, and the settings in which they differ.

pub mod columns;
pub mod find;
pub mod in_parallel;
pub mod logged_progress;
pub mod progress;
pub mod report;
pub mod run_directory;
pub mod run_signs;
pub mod sort;
pub mod status;
pub mod summary;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::ls::not_whole::NotWhole;
use crate::runs::columns::Column;
use crate::runs::summary::RunSummary;
use crate::tag::run_tags::unknown_tag;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// List the runs of a directory, a line each
///
/// Prints for each run its status, the epochs done and configured, the
/// optimizer steps, the best value of its primary metric among its checkpoints,
/// the training time, the items a second, the size of its checkpoints, how long
/// ago the newest was saved, and the hyperparameters and trainer settings in
/// which the runs differ. Status:
///
///   running      a process holds the run's lock: which one
///   done         its training is complete; why says what has ended it before
///                its last epoch
///   stopped      by a signal, from the dashboard, or by the program
///   failed       with an error or a panic, or its last state was not saved
///   killed       its last process left the lock behind: a kill, a power loss,
///                an abort
///   never saved  it has no checkpoint; why says how it ended, if it is known
///   damaged      none of its checkpoints can be read
///   unreadable   a directory or file of it cannot be read
///   unknown      none of these can be seen: neither the newest checkpoint nor
///                the log says how the run ended
///   not a run    another directory
///
/// --columns and --sort take: run, status, why, epochs, steps, best, time,
/// items/s, size, age, started, checkpoints, tags, notes; the name of a metric;
/// the path of a hyperparameter or of a trainer setting (seed, best.topk); or
/// one of them with its kind before it: metric.loss, hparam.loss, trainer.seed.
/// A metric's value is the best one among the checkpoints where the run says in
/// which direction it is better, else the newest. A sort by metric shows the
/// best run first, and a column that the runs are sorted by is shown.
///
/// Exit status 1 if a run cannot be read, if a checkpoint is damaged, if a link
/// leads to a missing file, and if there is no run.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A directory of runs, a run's directory, or the directory in which a program trains (with
    /// burn_trainer_logs)
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Sort by a column, metric, hyperparameter or setting; runs without a value come last
    #[arg(long, value_name = "KEY")]
    sort: Option<String>,
    /// Turn the order around
    #[arg(long)]
    reverse: bool,
    /// The columns to show
    #[arg(long, value_name = "KEY,..", value_delimiter = ',')]
    columns: Vec<String>,
    /// List only runs with this tag; may be repeated, and all are needed then
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Print JSON: everything of every run
    #[arg(long, conflicts_with = "columns")]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let mut runs = find::runs(&args.directory)?;
    keep_tagged(&mut runs, &args.tag)?;
    let sorted_by = args.sort.as_ref().map(|key| columns::find(key, &runs)).transpose()?;
    if let Some(column) = &sorted_by {
        sort::by(&mut runs, column);
    }
    if args.reverse {
        sort::reverse(&mut runs, sorted_by.as_ref());
    }
    let mut output = Output::new();
    let mut shows_best = false;
    if args.json {
        output.json(&report::as_json(&runs))?;
    } else {
        let columns = columns::chosen(&args.columns, sorted_by.as_ref(), &runs)?;
        shows_best = columns.iter().any(|column| matches!(column, Column::Best | Column::Metric(_)));
        let ranks = report::Ranks { is_chosen: !args.columns.is_empty(), sorted_by: sorted_by.as_ref() };
        output.table(report::table(&runs, &columns, &ranks), 0)?;
    }
    output.flush()?;
    if shows_best {
        say_what_best_is_of(&runs);
    }
    let unreadable: Vec<String> = runs.iter().flat_map(|run| run.unreadable.iter().cloned()).collect();
    unreadable.iter().for_each(|error| say(format!("error: {error}")));
    let not_whole = not_whole(&runs);
    not_whole.iter().for_each(say);
    Ok(unreadable.is_empty() && not_whole.is_none())
}

/// Names the runs whose best value other settings gave than those in their lines.
fn say_what_best_is_of(runs: &[RunSummary]) {
    for run in runs {
        if let Some(differs) = run.progress.as_ref().and_then(|progress| progress.best_differs()) {
            say(format!("note: *{}: {differs}", in_one_line(&run.name)));
        }
    }
}

/// The line that says how many checkpoints are not whole, and what lists them. `None` where all is well.
fn not_whole(runs: &[RunSummary]) -> Option<String> {
    let mut all = NotWhole::default();
    runs.iter().for_each(|run| all += run.not_whole);
    let said = all.in_words()?;
    let mut of = runs.iter().filter(|run| run.not_whole.in_words().is_some());
    let run = match (of.next(), of.next()) {
        (Some(run), None) => in_one_line(&run.directory.display().to_string()),
        _ => "RUN".to_owned(),
    };
    Some(format!("error: {said}: burn-ckpt ls {run} says which"))
}

/// Keeps the runs that have all of these tags, and those that cannot be read, which may have them.
fn keep_tagged(runs: &mut Vec<RunSummary>, wanted: &[String]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let there: BTreeSet<String> = runs.iter().flat_map(|run| run.tags.tags.iter().cloned()).collect();
    let is_tagged = |run: &RunSummary| wanted.iter().all(|tag| run.tags.tags.contains(tag));
    let is_any = runs.iter().any(is_tagged);
    runs.retain(|run| is_tagged(run) || !run.unreadable.is_empty());
    if is_any {
        return Ok(());
    }
    for error in runs.iter().flat_map(|run| &run.unreadable) {
        say(format!("error: {error}"));
    }
    Err(unknown_tag("run", wanted, there))
}
