//! What a training program prints at its end, and the exit status that follows.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_ckpt::plumbing::{shell_word, without_controls};
use burn_ckpt::retention::SavedCheckpoint;
use burn_ckpt::{Checkpoint, Metadata, chain};
use indexmap::IndexMap;
use jiff::Timestamp;

use super::{arguments, restart};
use crate::config::TrainerConfig;
use crate::error::{Error, Result, Stage};
use crate::mirror::MirrorResult;
use crate::process::console::say;
use crate::process::progress::figures::{count, significant, span};
use crate::process::temporary_root::TemporaryRoot;
use crate::result::FitResult;
use crate::run_speed::RunSpeed;
use crate::saving::run_checkpoints;
use crate::state::end_reason::{EndReason, RunOutcome};
use crate::strategy::FAST_DEV_RUN;

/// Prints where the checkpoints are, the best score, and the command that resumes the run, also where
/// training ended with an error. Returns the exit status, or that error, for [`main`](super::main).
///
/// The status is 0 unless a signal stopped training, a save failed that `failed_saves` counts as a failure,
/// or standard output cannot be written to.
///
/// `program` is how the program is started (`cargo xtask train digits`); the command repeats the arguments
/// that it was started with, as far as they do not say what to resume.
///
/// Takes the result, since burn's terminal dashboard has to be closed before anything that is printed stays.
///
/// The [module's page](crate::cli) has an example.
///
/// # Errors
///
/// The error that training ended with.
pub fn print_result<M>(
    result: Result<FitResult<M>>,
    config: &TrainerConfig,
    program: &str,
) -> Result<ExitCode> {
    print_and_keep_model(result, config, program).map(|reported| reported.status)
}

/// What is left of a result that was reported.
pub(super) struct Reported<M> {
    pub(super) status: ExitCode,
    pub(super) model: M,
    pub(super) run_dir: PathBuf,
    /// Whether training was stopped before its last epoch.
    pub(super) is_interrupted: bool,
    /// Of a fast dev run: its checkpoint, and the directory that is removed with this.
    pub(super) fast_dev_run: Option<(PathBuf, TemporaryRoot)>,
}

/// The same, for a program that uses the model afterwards.
pub(super) fn print_and_keep_model<M>(
    result: Result<FitResult<M>>,
    config: &TrainerConfig,
    program: &str,
) -> Result<Reported<M>> {
    let result = match result {
        Ok(result) => result,
        Err(error) => {
            // The same command would fail again for a metric that is not logged.
            let would_fail = error.stage() == Stage::Start || matches!(error, Error::MetricNotLogged { .. });
            let may_have_trained = !would_fail && !config.fast_dev_run;
            if may_have_trained && config.writes() && run_checkpoints::newest_resumable(config).is_some() {
                print(&[match restart::has_saved(config) {
                    true => resume_line(config, program, config.max_epochs),
                    false => begin_again_line(config, program),
                }]);
            }
            return Err(if config.fast_dev_run { error } else { restart::after(error, config) });
        }
    };
    let (lines, notes) = match config.writes() {
        // The trainer has said it, and nothing is left to resume.
        true if config.fast_dev_run => (Vec::new(), notes(&result)),
        true => (results(&result, config, program), notes(&result)),
        // The process of rank 0 says it.
        false => (Vec::new(), Vec::new()),
    };
    let status = result.exit_code(config);
    let mirror = config.mirror.as_ref();
    let unmirrored = result.mirror.as_ref().filter(|result| result.is_failure(mirror)).map(|mirror| {
        let is_newest = |(name, held): (&String, &SavedCheckpoint)| {
            !name.starts_with("best") && mirror.unsent.contains(&held.path)
        };
        match mirror.unsent.is_empty() {
            true => "the links in the mirror were not moved",
            false if result.checkpoints.iter().any(is_newest) => "the mirror lacks the newest checkpoint",
            false => "the mirror lacks a checkpoint",
        }
    });
    let FitResult { renderer, model, run_dir, outcome, temporary, checkpoints, .. } = result;
    drop(renderer);
    let tried = checkpoints.get(FAST_DEV_RUN).map(|tried| tried.path.clone());
    let fast_dev_run = tried.zip(temporary);
    let printed = print(&lines);
    notes.iter().for_each(|note| say(note));
    if let Some(why) = unmirrored {
        say(&format!("exit status 1: {why} (failed_mirror is fail_if_last)"));
    }
    let status = if printed { status } else { ExitCode::FAILURE };
    Ok(Reported { status, model, run_dir, is_interrupted: outcome.is_stopped(), fast_dev_run })
}

/// A path in a line of results: the line stays one.
pub(super) fn shown(path: &Path) -> String {
    without_controls(&path.display().to_string())
}

/// Why a run has ended, in a line of results. A callback's reason can come from a checkpoint.
fn shown_reason(reason: &EndReason) -> String {
    without_controls(&reason.to_string())
}

/// Of what a metric in a checkpoint is, if not of the model that it loads.
fn of_part(metric: &str, path: &Path) -> String {
    let part = Checkpoint::open(path).and_then(|checkpoint| checkpoint.part_of_metric(metric));
    match part.ok().flatten() {
        Some(part) => format!(", of its part {part}"),
        None => String::new(),
    }
}

/// The results, for standard output.
fn results<M>(result: &FitResult<M>, config: &TrainerConfig, program: &str) -> Vec<String> {
    let directory = result.run_dir.join(burn_ckpt::plumbing::CHECKPOINT_DIR);
    let mut lines = match result.checkpoints.is_empty() {
        true => values(&result.metrics),
        false => vec![format!("checkpoints: {}", shown(&directory))],
    };
    for (name, held) in &result.checkpoints {
        let path = shown(&held.path);
        lines.push(match name.split(':').collect::<Vec<_>>()[..] {
            // The path says in which directory it is.
            ["best", metric, ..] => {
                format!("best {metric}: {} in {path}{}", held.score, of_part(metric, &held.path))
            }
            ["last", ..] => format!("last: {path}"),
            ["on_exception", ..] => format!("on_exception: {path}"),
            _ => format!("{name}: {path}"),
        });
    }
    lines.push(format!(
        "epochs {}, steps {}, {}",
        result.epochs,
        result.global_step,
        span(result.training_time_seconds)
    ));
    lines.extend(result.speed.as_ref().and_then(speed));
    if let Some(longest) = result.longest_save {
        let saves = count(result.saves, "save");
        let longest = span(longest.as_secs_f64());
        lines.push(match result.saves {
            1 => format!("{saves}, durable after {longest}"),
            _ => format!("{saves}, the longest durable after {longest}"),
        });
    }
    lines.extend(result.mirror.as_ref().map(MirrorResult::line));
    if result.finished_before {
        let epochs = count(result.epochs, "epoch");
        lines.push(format!("nothing to do: the run {} is complete after {epochs}", result.run_id));
    }
    let reason = result.outcome.end_reason();
    lines.extend(reason.map(|reason| ended_by(reason, result)));
    match limit_at_end(result, config) {
        Some(limit) => lines.push(format!(
            "{limit} is reached with the last epoch: a larger one, together with more epochs, trains the run further"
        )),
        // A larger limit, or more patience, trains the others further.
        None if matches!(reason, None | Some(EndReason::Callback { .. })) => {
            lines.extend(how_to_resume(result, config, program));
        }
        None => {}
    }
    lines
}

/// The limit that a run has come to with its last epoch: more epochs alone do not train it further.
fn limit_at_end<M>(result: &FitResult<M>, config: &TrainerConfig) -> Option<&'static str> {
    if result.outcome != RunOutcome::Done(None) {
        return None;
    }
    let steps = config.max_steps.filter(|steps| result.global_step >= *steps);
    let time = config.max_time.filter(|time| result.training_time_seconds >= time.0.as_secs_f64());
    steps.map(|_| "max_steps").or(time.map(|_| "max_time"))
}

/// What has ended a run before its last epoch.
fn ended_by<M>(reason: &EndReason, result: &FitResult<M>) -> String {
    let (epochs, steps) = (count(result.epochs, "epoch"), count(result.global_step, "step"));
    let why = shown_reason(reason);
    match (reason, reason.limit()) {
        (_, Some(limit)) => format!("{limit} ended the run after {steps}: a larger one trains it further"),
        (EndReason::EarlyStopping(_), None) => format!("early stopping ended the run after {epochs}: {why}"),
        (_, None) => format!("a callback ended the run after {steps}: {why}"),
    }
}

/// The command that resumes the run, or why there is none. `None` without a checkpoint that has a state.
fn how_to_resume<M>(result: &FitResult<M>, config: &TrainerConfig, program: &str) -> Option<String> {
    // Read from the files, not from the result: where a save failed, an older state is the one to resume
    // from. It is the newest: a run that was resumed from an older one can have others with more epochs.
    let states = || result.checkpoints.values().map(|held| held.path.as_path());
    let saved = |path| run_checkpoints::epochs_to_resume_after(path);
    let newest = states()
        .filter_map(|path| Some((finite_since(path)?, saved(path)?)))
        .max_by_key(|(timestamp, done)| (*timestamp, *done));
    let Some((_, done)) = newest else {
        let not_finite = states().filter_map(saved).next();
        return not_finite.map(|_| {
            "not to be resumed: the parameters of its states are not all finite, and auto does not resume from such a state".to_owned()
        });
    };
    // A run that is done resumes only with more epochs.
    let (done, wanted) = (usize::try_from(done).unwrap_or(usize::MAX), config.max_epochs);
    let epochs = if done >= wanted { done.saturating_mul(2) } else { wanted };
    Some(resume_line(config, program, epochs))
}

/// `640 items/s, 40 steps/s; 3 % of the time waiting for data, 0 % for saves`.
fn speed(speed: &RunSpeed) -> Option<String> {
    let steps = speed.steps_per_second()?;
    let items = speed.items_per_second().map(|rate| format!("{} items/s, ", significant(rate)));
    let [data, saves] = [speed.data_share(), speed.save_share()].map(|share| 100.0 * share);
    let items = items.unwrap_or_default();
    Some(format!(
        "{items}{} steps/s; {data:.0} % of the time waiting for data, {saves:.0} % for saves",
        significant(steps)
    ))
}

/// Notes, for standard error.
fn notes<M>(result: &FitResult<M>) -> Vec<String> {
    let mut notes = Vec::new();
    if let RunOutcome::Stopped { reason, .. } = &result.outcome {
        notes.push(format!("stopped before the last epoch: {reason}"));
        if result.checkpoints.is_empty() {
            notes.push("there is no checkpoint: the run resumes from its beginning".to_owned());
        }
    }
    if let Some(job) = &result.requeued {
        notes.push(format!("the Slurm job {job} is requeued"));
    }
    for (step, error) in &result.failed_saves {
        notes.push(format!("saving step {step} failed: {}", chain(error)));
    }
    if let Some(error) = &result.unmoved_link {
        notes.push(format!(
            "a link leads to an older checkpoint than it should: {}. The next start of the run moves it; until then name the \
             file itself",
            chain(error)
        ));
    } else if result.last_save_failed && result.failed_saves.is_empty() {
        notes.push(format!(
            "the state of step {} is not on disk: there was no time to save it",
            result.global_step
        ));
    }
    if result.skipped_saves > 0 {
        let skipped = count(result.skipped_saves, "save");
        let were = if result.skipped_saves == 1 { "was" } else { "were" };
        notes.push(format!("{skipped} {were} skipped because the queue was full"));
    }
    if result.replaced_saves > 0 {
        notes.push(match result.replaced_saves {
            1 => "1 save was replaced by a newer one because the queue was full".to_owned(),
            more => format!("{more} saves were replaced by newer ones because the queue was full"),
        });
    }
    notes
}

/// Writes to standard output, and returns whether that went well: a failure is said. A reader that has gone
/// (`| head`) is not one.
pub(super) fn print(lines: &[String]) -> bool {
    if lines.is_empty() {
        return true;
    }
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{}", lines.join("\n")).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(&format!("the results cannot be written to standard output: {error}"));
            false
        }
        _ => true,
    }
}

/// The command that resumes the run, before [`print_result`] says how the program is started: as this process
/// was.
pub(super) fn resume_line_of_process(config: &TrainerConfig, epochs: usize) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    resume_line(config, &shell_word(&program.to_string_lossy()), epochs)
}

fn resume_line(config: &TrainerConfig, program: &str, epochs: usize) -> String {
    format!("resume: {program} {}", arguments::to_resume_with(&given_arguments(), config, epochs))
}

/// The command for a start that has saved nothing: it resumes what this one did.
fn begin_again_line(config: &TrainerConfig, program: &str) -> String {
    let words = restart::arguments_to_begin_again(&given_arguments(), config);
    let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
    format!("resume: {program} {}", words.join(" "))
}

fn given_arguments() -> Vec<String> {
    // An argument that is not UTF-8 cannot be printed as a shell takes it.
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// When a checkpoint was saved whose parameters were all finite, as far as its metadata says it.
fn finite_since(path: &Path) -> Option<Timestamp> {
    let metadata = Metadata::of_checkpoint(path).ok().filter(Metadata::is_finite)?;
    Some(metadata.checkpoint_timestamp)
}

/// The latest values, of a run without a checkpoint that has them.
fn values(metrics: &IndexMap<String, f64>) -> Vec<String> {
    let values = metrics.iter().map(|(name, value)| format!("{name} {}", significant(*value)));
    let values = values.collect::<Vec<_>>().join(", ");
    if values.is_empty() { Vec::new() } else { vec![values] }
}
