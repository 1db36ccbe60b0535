//! What a training program prints at its end, and the exit status that follows.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use burn_ckpt::{Checkpoint, OPTIMIZER};

use crate::config::{FailedSaves, TrainerConfig};
use crate::error::{Error, Result};
use crate::progress::say;
use crate::result::FitResult;
use crate::run;
use crate::state::TrainerState;

/// Prints where the checkpoints are, the best score, and the command that goes on from here, also where training
/// ended with an error. Returns the exit status, or that error, for [`main`](super::main).
///
/// The status is a success unless a save failed that the configuration's `failed_saves` minds, or a signal stopped
/// training.
///
/// # Errors
///
/// That which training ended with.
///
/// `program` is how the program is started (`cargo xtask train digits`); the command repeats the arguments that
/// it was started with, as far as they do not say what to resume.
///
/// Takes the result, since burn's terminal dashboard has to be closed before anything that is printed stays.
pub fn report<M>(result: Result<FitResult<M>>, config: &TrainerConfig, program: &str) -> Result<ExitCode> {
    let result = match result {
        Ok(result) => result,
        Err(error) => {
            if has_begun(&error) && config.writes() && anything_to_resume(config) {
                print(&[resume_line(config, program, config.max_epochs)]);
            }
            return Err(error);
        }
    };
    let (lines, notes) = match config.writes() {
        true => (results(&result, config, program), notes(&result)),
        // The process of rank 0 says it.
        false => (Vec::new(), Vec::new()),
    };
    let saved = match config.failed_saves {
        FailedSaves::Ignore => true,
        FailedSaves::FailIfAny => result.failed_saves.is_empty() && !result.last_save_failed,
        FailedSaves::FailIfLast | FailedSaves::Stop => !result.last_save_failed,
    };
    let status = match (saved, result.stopped_by) {
        (false, _) => ExitCode::FAILURE,
        (true, Some(signal)) => ExitCode::from(signal.exit_status()),
        (true, None) => ExitCode::SUCCESS,
    };
    drop(result.renderer);
    print(&lines);
    notes.iter().for_each(|note| say(note));
    Ok(status)
}

/// What training came to: for standard output.
fn results<M>(result: &FitResult<M>, config: &TrainerConfig, program: &str) -> Vec<String> {
    let mut lines =
        vec![format!("checkpoints: {}", result.run_dir.join(burn_ckpt::CHECKPOINT_DIR).display())];
    for (name, held) in &result.checkpoints {
        lines.push(match name.strip_prefix("best:") {
            Some(metric) => format!("best {metric}: {} in {}", held.score, held.path.display()),
            None => format!("{name}: {}", held.path.display()),
        });
    }
    lines.push(format!(
        "epochs {}, steps {}, {:.1} s",
        result.epochs, result.global_step, result.training_time_seconds
    ));
    if result.stopped_early {
        lines.push(format!("early stopping has ended the run after {} epochs", result.epochs));
    }
    if result.finished_before {
        lines.push(format!(
            "nothing to do: the run {} was done after {} epochs already",
            result.run_id, result.epochs
        ));
    }
    // Not those of the result: where a save failed, it is an older state that is gone on from.
    let saved = result.checkpoints.values().filter_map(|held| epochs_to_resume_after(&held.path));
    if let Some(done) = saved.max().filter(|_| !result.stopped_early) {
        // A run that is done goes on only with more epochs.
        let (done, wanted) = (usize::try_from(done).unwrap_or(usize::MAX), config.max_epochs);
        let epochs = if done >= wanted { done.saturating_mul(2) } else { wanted };
        lines.push(resume_line(config, program, epochs));
    }
    lines
}

/// What else there is to know: for standard error.
fn notes<M>(result: &FitResult<M>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(reason) = &result.interrupted {
        notes.push(format!("stopped before the last epoch: {reason}"));
    }
    if let Some(job) = &result.requeued {
        notes.push(format!("the Slurm job {job} is requeued"));
    }
    for (step, error) in &result.failed_saves {
        notes.push(format!("saving step {step} failed: {error}"));
    }
    if result.last_save_failed && result.failed_saves.is_empty() {
        notes.push(format!(
            "the state of step {} is not on disk: there was no time to save it",
            result.global_step
        ));
    }
    if result.skipped_saves > 0 {
        notes.push(format!("{} saves were skipped because the disk was behind", result.skipped_saves));
    }
    if result.replaced_saves > 0 {
        let replaced = result.replaced_saves;
        notes.push(format!("{replaced} saves were replaced by newer ones because the disk was behind"));
    }
    notes
}

/// Writes to standard output. Nobody may be reading any more (`| head`), which is no reason to fail.
fn print(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}

/// Whether an error came after training began.
fn has_begun(error: &Error) -> bool {
    matches!(
        error,
        Error::Panicked { .. }
            | Error::Training { .. }
            | Error::SaveFailed { .. }
            | Error::MetricNotLogged { .. }
    )
}

fn anything_to_resume(config: &TrainerConfig) -> bool {
    run::checkpoints(config).is_ok_and(|catalog| {
        catalog.entries.iter().any(|entry| epochs_to_resume_after(&entry.path).is_some())
    })
}

/// The epochs done in a checkpoint, if it can be gone on from.
fn epochs_to_resume_after(path: &Path) -> Option<u64> {
    let checkpoint = Checkpoint::open(path).ok().filter(|checkpoint| checkpoint.has_section(OPTIMIZER))?;
    Some(checkpoint.trainer_state::<TrainerState>().ok()?.position.epochs())
}

fn resume_line(config: &TrainerConfig, program: &str, epochs: usize) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run_id = config.run_id.as_deref().unwrap_or_default();
    format!("resume: {program} {}", resume_arguments(&arguments, run_id, epochs))
}

/// The arguments of the command that goes on with a run: those it was started with, without what says which run
/// it is, what to resume and for how long, and then that.
fn resume_arguments(arguments: &[String], run_id: &str, epochs: usize) -> String {
    const REPLACED: [&str; 3] = ["--run-id", "--ckpt-path", "--epochs"];
    const REPLACED_KEYS: [&str; 4] = ["run_id=", "ckpt_path=", "max_epochs=", "overwrite="];
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, value) = argument.split_once('=').map_or((argument.as_str(), None), |(f, v)| (f, Some(v)));
        let replaced = |value: &str| REPLACED_KEYS.iter().any(|key| value.starts_with(key));
        if flag == "--overwrite" {
        } else if REPLACED.contains(&flag) {
            if value.is_none() {
                rest.next();
            }
        } else if flag == "--set" {
            let assignment = value.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
            if !replaced(assignment) {
                words.extend(["--set".to_owned(), quoted(assignment)]);
            }
        } else {
            words.push(quoted(argument));
        }
    }
    // A value that begins with a dash would be taken for a flag.
    let separator = if run_id.starts_with('-') { '=' } else { ' ' };
    words.push(format!("--run-id{separator}{} --ckpt-path auto --epochs {epochs}", quoted(run_id)));
    words.join(" ")
}

/// A word that a POSIX shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        resume_arguments(&arguments, "r 1", 8)
    }

    #[test]
    fn the_resuming_command_keeps_what_makes_the_model_and_replaces_what_names_the_run() {
        let tail = "--run-id 'r 1' --ckpt-path auto --epochs 8";
        assert_eq!(resumed(&[]), tail);
        assert_eq!(
            resumed(&["--epochs", "4", "--run-id=r1", "--root", "a b", "--overwrite", "--ckpt-path", "last"]),
            format!("--root 'a b' {tail}")
        );
        assert_eq!(
            resumed(&[
                "--set",
                "channels=4",
                "--set=max_epochs=3",
                "--set",
                "name=\"it's\"",
                "--set",
                "run_id=\"x\""
            ]),
            format!(r#"--set channels=4 --set 'name="it'\''s"' {tail}"#)
        );
    }
}
