//! What a training program prints at its end, and the exit status that follows.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_ckpt::plumbing::{shell_word, without_controls};
use burn_ckpt::{Metadata, chain};

use super::{arguments, restart};
use crate::config::{FailedSaves, TrainerConfig};
use crate::error::{Error, Result};
use crate::mirror::MirrorResult;
use crate::process::console::say;
use crate::process::progress::figures::{count, exact_time, significant};
use crate::process::temporary_root::TemporaryRoot;
use crate::result::FitResult;
use crate::run_speed::RunSpeed;
use crate::saving::run_checkpoints;
use crate::state::end_reason::EndReason;
use crate::strategy::FAST_DEV_RUN;

/// Prints where the checkpoints are, the best score, and the command that resumes the run, also where
/// training ended with an error. Returns the exit status, or that error, for [`main`](super::main).
///
/// The status is 0 unless a signal stopped training, or a save failed that `failed_saves` counts as a
/// failure.
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
            let has_begun = has_begun(&error) && !config.fast_dev_run;
            if has_begun && config.writes() && run_checkpoints::newest_resumable(config).is_some() {
                print(&[resume_line(config, program, config.max_epochs)]);
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
    let saved = match config.failed_saves {
        FailedSaves::Ignore => true,
        FailedSaves::FailIfAny => result.failed_saves.is_empty() && !result.last_save_failed,
        FailedSaves::FailIfLast | FailedSaves::Stop => !result.last_save_failed,
    };
    let mirror = config.mirror.as_ref();
    let saved = saved && !result.mirror.as_ref().is_some_and(|result| result.is_failure(mirror));
    let status = match (saved, result.stopped_by) {
        (false, _) => ExitCode::FAILURE,
        (true, Some(signal)) => ExitCode::from(signal.exit_status()),
        (true, None) => ExitCode::SUCCESS,
    };
    let FitResult { renderer, model, run_dir, interrupted, temporary, checkpoints, .. } = result;
    drop(renderer);
    let saved = checkpoints.get(FAST_DEV_RUN).map(|saved| saved.path.clone());
    let fast_dev_run = saved.zip(temporary);
    print(&lines);
    notes.iter().for_each(|note| say(note));
    Ok(Reported { status, model, run_dir, is_interrupted: interrupted.is_some(), fast_dev_run })
}

/// A path in a line of results: the line stays one.
pub(super) fn shown(path: &Path) -> String {
    without_controls(&path.display().to_string())
}

/// Why a run has ended, in a line of results. A callback's reason can come from a checkpoint.
fn shown_reason(reason: &EndReason) -> String {
    without_controls(&reason.to_string())
}

/// The results, for standard output.
fn results<M>(result: &FitResult<M>, config: &TrainerConfig, program: &str) -> Vec<String> {
    let directory = result.run_dir.join(burn_ckpt::plumbing::CHECKPOINT_DIR);
    let mut lines = vec![format!("checkpoints: {}", shown(&directory))];
    for (name, held) in &result.checkpoints {
        lines.push(match name.strip_prefix("best:") {
            Some(metric) => format!("best {metric}: {} in {}", held.score, shown(&held.path)),
            None => format!("{name}: {}", shown(&held.path)),
        });
    }
    lines.push(format!(
        "epochs {}, steps {}, {:.1} s",
        result.epochs, result.global_step, result.training_time_seconds
    ));
    lines.extend(result.speed.as_ref().and_then(speed));
    if let Some(longest) = result.longest_save {
        let saves = count(result.saves, "save");
        let longest = exact_time(longest);
        lines.push(match result.saves {
            1 => format!("{saves}, durable after {longest}"),
            _ => format!("{saves}, the longest durable after {longest}"),
        });
    }
    lines.extend(result.mirror.as_ref().map(MirrorResult::line));
    if result.stopped_early {
        let epochs = count(result.epochs, "epoch");
        let why = result.ended_because.iter().map(|reason| format!(": {}", shown_reason(reason)));
        let why = why.collect::<String>();
        lines.push(format!("early stopping ended the run after {epochs}{why}"));
    }
    if result.finished_before {
        let epochs = count(result.epochs, "epoch");
        lines.push(format!("nothing to do: the run {} is complete after {epochs}", result.run_id));
    }
    let ended_by_limit = result.ended_because.as_ref().and_then(EndReason::limit);
    if let Some(reason) = result.ended_because.as_ref().filter(|_| !result.stopped_early) {
        let steps = count(result.global_step, "step");
        lines.push(match ended_by_limit {
            Some(limit) => format!("{limit} ended the run after {steps}: a larger one trains it further"),
            None => format!("a callback ended the run after {steps}: {}", shown_reason(reason)),
        });
    }
    if !result.stopped_early && ended_by_limit.is_none() {
        lines.extend(how_to_resume(result, config, program));
    }
    lines
}

/// The command that resumes the run, or why there is none. `None` without a checkpoint that has a state.
fn how_to_resume<M>(result: &FitResult<M>, config: &TrainerConfig, program: &str) -> Option<String> {
    // Read from the files, not from the result: where a save failed, an older state is the one to resume
    // from.
    let states = || result.checkpoints.values().map(|held| held.path.as_path());
    let saved = |path| run_checkpoints::epochs_to_resume_after(path);
    let finite = states().filter(|path| is_finite(path)).filter_map(saved);
    let Some(done) = finite.max() else {
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
    if let Some(reason) = &result.interrupted {
        notes.push(format!("stopped before the last epoch: {reason}"));
    }
    if result.interrupted.is_some() && result.checkpoints.is_empty() {
        notes.push("there is no checkpoint: the run resumes from its beginning".to_owned());
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

/// Writes to standard output. A reader that has gone (`| head`) is not an error.
pub(super) fn print(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}

/// Whether an error came after training began. Each has to be decided on.
fn has_begun(error: &Error) -> bool {
    match error {
        Error::Panicked { .. }
        | Error::Training { .. }
        | Error::Callback { .. }
        | Error::DeviceLost { .. }
        | Error::RemoteDevice { .. }
        | Error::SaveFailed { .. }
        | Error::MetricNotLogged { .. }
        | Error::NoBatch { .. } => true,
        Error::Config { .. }
        | Error::Device { .. }
        | Error::Checkpoint(_)
        | Error::RunExists { .. }
        | Error::MirrorNotDownloaded { .. }
        | Error::MirrorUnreadable { .. }
        | Error::UnknownMetric { .. }
        | Error::NoBatchFits { .. }
        | Error::Evaluation { .. }
        | Error::NothingToResume { .. }
        | Error::MidEpoch { .. }
        | Error::Unusable { .. } => false,
    }
}

/// The command that resumes the run, before [`print_result`] says how the program is started: as this process
/// was.
pub(super) fn resume_line_of_process(config: &TrainerConfig, epochs: usize) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    resume_line(config, &shell_word(&program.to_string_lossy()), epochs)
}

fn resume_line(config: &TrainerConfig, program: &str, epochs: usize) -> String {
    // An argument that is not UTF-8 cannot be printed as a shell takes it.
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    format!("resume: {program} {}", arguments::to_resume_with(&arguments, config, epochs))
}

/// Whether all parameters of a checkpoint were finite when it was saved, as far as its metadata says it.
fn is_finite(path: &Path) -> bool {
    Metadata::of_checkpoint(path).is_ok_and(|metadata| metadata.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_fails_after_training_has_begun_and_a_setting_before() {
        let (name, source) = ("mine".to_owned(), "it is full".into());
        let callback = Error::Callback { name, method: "on_epoch_end", source, saved: None };
        assert!(has_begun(&callback));
        assert!(!has_begun(&Error::config("seed", "it is odd")));
    }
}
