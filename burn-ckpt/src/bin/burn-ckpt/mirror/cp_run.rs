//! `burn-ckpt cp` of a run in a mirror: its checkpoints, then its log of metrics, then its links. What is on
//! disk already stays, so a copy that was interrupted continues.

use std::path::Path;

use burn_ckpt::metrics_log::METRICS_FILE;
use burn_ckpt::mirror::{MirroredCheckpoint, MirroredRun, begin_on_disk};
use burn_ckpt::plumbing::{
    CHECKPOINT_SUFFIX, Existing, LockMode, RunLock, check_own, create_directory, entry, is_there,
};
use burn_ckpt::{Catalog, Checkpoint, RunLayout, chain};
use serde_json::{Value, json};

use crate::foreign::existing;
use crate::mirror::condition::say_what_is_lost;
use crate::terminal::figures::{count, size};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// One checkpoint, and what became of it.
struct Outcome<'a> {
    name: &'a str,
    bytes: u64,
    was_there: bool,
    problem: Option<String>,
}

/// Copies a run to the directory of its id below `destination`. With `force`, what is on disk under a name of
/// the mirror is replaced where it differs.
pub fn run(run: &MirroredRun, destination: &Path, force: bool, as_json: bool) -> VerbResult {
    let layout = RunLayout::at(destination.join(run.run_id()));
    check_own(&layout)?;
    run.check_is_run_on_disk(begin_on_disk(&layout, &Catalog::scan(&layout)?))?;
    create_directory(layout.run_dir())?;
    let lock = RunLock::acquire_to_tidy(layout.run_dir(), LockMode::IfPossible)?;
    // States of another history would count as the run's own.
    let (forks, own): (Vec<_>, Vec<_>) =
        run.checkpoints().iter().partition(|checkpoint| checkpoint.is_fork());
    let mut output = Output::new();
    let mut outcomes: Vec<Outcome<'_>> = Vec::new();
    // The newest comes last: what is on disk meanwhile is an earlier state of the run.
    for &checkpoint in &own {
        let outcome = copy(run, checkpoint, &layout, force);
        if !as_json {
            output.line(line(&outcome))?;
            output.flush()?;
        }
        outcomes.push(outcome);
    }
    for (name, error) in run.broken() {
        let outcome = Outcome { name, bytes: 0, was_there: false, problem: Some(chain(error)) };
        if !as_json {
            output.line(line(&outcome))?;
        }
        outcomes.push(outcome);
    }
    let log = copy_log(run, &own, &layout, force);
    run.download_links(&layout, existing(force))?;
    drop(lock);
    if as_json {
        output.json(&Value::from(outcomes.iter().map(json_of).collect::<Vec<_>>()))?;
    }
    output.flush()?;
    say_what_is_lost(run);
    say_forks(run, &forks);
    let failed = outcomes.iter().filter(|outcome| outcome.problem.is_some()).count();
    let there = outcomes.iter().filter(|outcome| outcome.was_there).count();
    let bytes: u64 = outcomes.iter().map(|outcome| outcome.bytes).sum();
    say(format!(
        "{}: {} copied, {}; {there} there already, {failed} not copied",
        in_one_line(&layout.run_dir().display().to_string()),
        count(outcomes.len() - failed - there, "checkpoint"),
        size(bytes)
    ));
    log?;
    Ok(failed == 0)
}

/// Copies a checkpoint, unless its state is on disk. Another state of its name is an error without `force`.
fn copy<'a>(
    run: &MirroredRun,
    checkpoint: &'a MirroredCheckpoint,
    layout: &RunLayout,
    force: bool,
) -> Outcome<'a> {
    let place = layout.checkpoint_dir().join(&checkpoint.name);
    let outcome = |bytes, was_there, problem| Outcome { name: &checkpoint.name, bytes, was_there, problem };
    match is_there(&place) {
        Ok(true) if Checkpoint::is_whole_at(&place, checkpoint.sha256(), &|_| Ok(())) => {
            return outcome(0, true, None);
        }
        Ok(true) if !force => {
            let problem = "another state of that name is on disk, or a damaged one: --force replaces it";
            return outcome(0, false, Some(problem.to_owned()));
        }
        Ok(_) => {}
        Err(error) => return outcome(0, false, Some(chain(&error))),
    }
    match run.download(checkpoint, layout, &|_| Ok(())) {
        Ok(_) => outcome(checkpoint.total_bytes(), false, None),
        Err(error) => outcome(0, false, Some(chain(&error))),
    }
}

/// Copies the log of metrics up to the newest checkpoint that has one.
fn copy_log(
    run: &MirroredRun,
    checkpoints: &[&MirroredCheckpoint],
    layout: &RunLayout,
    force: bool,
) -> Result<(), Failure> {
    let path = layout.run_dir().join(METRICS_FILE);
    if existing(force) == Existing::Keep && entry(&path)?.is_some() {
        return Ok(());
    }
    let newest = checkpoints.iter().rev().find(|checkpoint| checkpoint.metrics_log.is_some());
    if let Some(newest) = newest {
        run.download_metrics_log(newest, &path, &|_| Ok(()))?;
    }
    Ok(())
}

fn say_forks(run: &MirroredRun, forks: &[&MirroredCheckpoint]) {
    if let Some(first) = forks.first() {
        let (first, forks) = (run.address_of(&first.name), count(forks.len(), "checkpoint"));
        say(format!(
            "note: {forks} of another history of the run stay in the mirror: burn-ckpt cp {first} NAME{CHECKPOINT_SUFFIX} gets one"
        ));
    }
}

fn line(outcome: &Outcome<'_>) -> String {
    let name = in_one_line(outcome.name);
    match (&outcome.problem, outcome.was_there) {
        (Some(problem), _) => format!("failed   {name}: {}", in_one_line(problem)),
        (None, true) => format!("there    {name}"),
        (None, false) => format!("copied   {name}  {}", size(outcome.bytes)),
    }
}

fn json_of(outcome: &Outcome<'_>) -> Value {
    json!({
        "file": outcome.name,
        "bytes_copied": outcome.bytes,
        "was_there": outcome.was_there,
        "problem": outcome.problem,
    })
}
