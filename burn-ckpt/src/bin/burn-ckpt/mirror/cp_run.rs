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
use crate::mirror::outcome::{Outcome, failed, summary};
use crate::terminal::figures::count;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// What is said of a checkpoint that was copied.
const COPIED: &str = "copied";

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
    let mut outcomes: Vec<Outcome> = Vec::new();
    // The newest comes last: what is on disk meanwhile is an earlier state of the run.
    for &checkpoint in &own {
        let outcome = copy(run, checkpoint, &layout, force);
        if !as_json {
            output.line(outcome.line(COPIED))?;
            output.flush()?;
        }
        outcomes.push(outcome);
    }
    for (name, error) in run.broken() {
        let outcome = Outcome::failed(name, chain(error));
        if !as_json {
            output.line(outcome.line(COPIED))?;
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
    let place = in_one_line(&layout.run_dir().display().to_string());
    say(format!("{place}: {}", summary(&outcomes, COPIED)));
    log?;
    Ok(failed(&outcomes) == 0)
}

/// Copies a checkpoint, unless its state is on disk. Another state of its name is an error without `force`.
fn copy(run: &MirroredRun, checkpoint: &MirroredCheckpoint, layout: &RunLayout, force: bool) -> Outcome {
    let place = layout.checkpoint_dir().join(&checkpoint.name);
    let failed = |problem: String| Outcome::failed(&checkpoint.name, problem);
    let done = |bytes, was_there| Outcome { name: checkpoint.name.clone(), bytes, was_there, problem: None };
    match is_there(&place) {
        Ok(true) if Checkpoint::is_whole_at(&place, checkpoint.sha256(), &|_| Ok(())) => {
            return done(0, true);
        }
        Ok(true) if !force => {
            let problem = "another state of that name is on disk, or a damaged one: --force replaces it";
            return failed(problem.to_owned());
        }
        Ok(_) => {}
        Err(error) => return failed(chain(&error)),
    }
    match run.download(checkpoint, layout, &|_| Ok(())) {
        Ok(_) => done(checkpoint.total_bytes(), false),
        Err(error) => failed(chain(&error)),
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

fn json_of(outcome: &Outcome) -> Value {
    json!({
        "file": outcome.name,
        "bytes_copied": outcome.bytes,
        "was_there": outcome.was_there,
        "problem": outcome.problem,
    })
}
