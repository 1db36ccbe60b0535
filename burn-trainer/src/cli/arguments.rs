//! The arguments that a program was started with, changed so that they resume the run.

use burn_ckpt::plumbing::shell_word;

use super::resume;
use crate::config::TrainerConfig;

/// Flags that name the run, the checkpoint to resume and the number of epochs.
const OF_THE_RUN: [&str; 4] = ["--run-id", "--ckpt-path", "--resume", "--epochs"];
/// Keys of `--set` for the same.
const KEYS_OF_THE_RUN: [&str; 4] = ["run_id=", "ckpt_path=", "max_epochs=", "overwrite="];

/// The command line that a user resumes a run with, quoted for a POSIX shell.
pub(super) fn to_resume_with(arguments: &[String], config: &TrainerConfig, epochs: usize) -> String {
    let run_id = config.run_id.as_deref().unwrap_or_default();
    let mut words: Vec<String> = without_the_run(arguments).iter().map(|word| shell_word(word)).collect();
    if resume::is_given(arguments) {
        let run = resume::run_dir(config);
        words.push(format!("--resume {} --epochs {epochs}", shell_word(&run.to_string_lossy())));
        return words.join(" ");
    }
    // A value that begins with a dash would be taken for a flag.
    let separator = if run_id.starts_with('-') { '=' } else { ' ' };
    words.push(format!("--run-id{separator}{} --ckpt-path auto --epochs {epochs}", shell_word(run_id)));
    words.join(" ")
}

/// The arguments with which a program restarts itself and resumes its run.
pub(super) fn to_restart_with(arguments: &[String], config: &TrainerConfig) -> Vec<String> {
    let mut words = without_the_run(arguments);
    if resume::is_given(arguments) {
        words.push(format!("--resume={}", resume::run_dir(config).to_string_lossy()));
    } else {
        words.push(format!("--run-id={}", config.run_id.as_deref().unwrap_or_default()));
        words.push("--ckpt-path=auto".to_owned());
    }
    words.push(format!("--epochs={}", config.max_epochs));
    words
}

/// The arguments that begin once more what this start began, which has saved nothing to resume: a checkpoint
/// that they name is still the one to begin with, and the run keeps its id.
pub(super) fn to_begin_again(
    arguments: &[String],
    config: &TrainerConfig,
    has_checkpoints: bool,
) -> Vec<String> {
    if resume::is_given(arguments) {
        return arguments.to_vec();
    }
    // What the flag removes is removed already. Checkpoints that are there since cannot be resumed, and a
    // start beside them is an error.
    let (flag, key) = if has_checkpoints { (None, None) } else { (Some("--overwrite"), Some("overwrite=")) };
    let flags = Leave { value: &["--run-id"], alone: flag };
    let keys: Vec<&str> = std::iter::once("run_id=").chain(key).collect();
    let mut words = without(arguments, &flags, &keys);
    words.push(format!("--run-id={}", config.run_id.as_deref().unwrap_or_default()));
    words
}

/// The arguments without these flags, without `--overwrite`, and without a `--set` of the same keys.
fn without_the_run(arguments: &[String]) -> Vec<String> {
    without(arguments, &Leave { value: &OF_THE_RUN, alone: Some("--overwrite") }, &KEYS_OF_THE_RUN)
}

/// Flags to leave out.
struct Leave<'a> {
    /// Those with a value.
    value: &'a [&'a str],
    /// One without.
    alone: Option<&'a str>,
}

/// The arguments without these flags, and without a `--set` of these keys.
fn without(arguments: &[String], flags: &Leave<'_>, keys: &[&str]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, value) = argument.split_once('=').map_or((argument.as_str(), None), |(f, v)| (f, Some(v)));
        if flags.alone == Some(flag) {
        } else if flags.value.contains(&flag) {
            if value.is_none() {
                rest.next();
            }
        } else if flag == "--set" {
            let assignment = value.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
            if !keys.iter().any(|key| assignment.starts_with(key)) {
                words.extend(["--set".to_owned(), assignment.to_owned()]);
            }
        } else {
            words.push(argument.clone());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        to_resume_with(&arguments, &TrainerConfig::new().with_run_id("r 1"), 8)
    }

    #[test]
    fn a_restart_keeps_the_number_of_epochs() {
        let arguments = ["--restarts", "3", "--run-id", "x", "--set", "ckpt_path=\"none\"", "--seed=1"];
        let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        assert_eq!(
            to_restart_with(&arguments, &TrainerConfig::new().with_run_id("r 1").with_max_epochs(8)),
            ["--restarts", "3", "--seed=1", "--run-id=r 1", "--ckpt-path=auto", "--epochs=8"]
        );
    }

    #[test]
    fn a_start_that_saved_nothing_is_begun_again_from_the_checkpoint_that_was_asked_for() {
        let config = TrainerConfig::new().with_run_id("b");
        let again = |arguments: &str, has_checkpoints: bool| {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            to_begin_again(&arguments, &config, has_checkpoints).join(" ")
        };
        let rest = "--ckpt-path logs/a/best --restarts 3 --epochs 2";
        assert_eq!(again(&format!("--run-id b {rest}"), false), format!("{rest} --run-id=b"));
        // The id is that of this start, also where it was made up.
        assert_eq!(again(rest, true), format!("{rest} --run-id=b"));
        assert_eq!(
            again("--overwrite --set run_id=b --set overwrite=true --seed 1", false),
            "--seed 1 --run-id=b"
        );
        // Beside what cannot be resumed.
        assert_eq!(
            again("--overwrite --set max_epochs=3", true),
            "--overwrite --set max_epochs=3 --run-id=b"
        );
        let resumed = "--resume logs/b/checkpoint/last/epoch=1-step=5.ckpt --epochs 8";
        assert_eq!(again(resumed, true), resumed);
    }

    #[test]
    fn the_resuming_command_keeps_what_makes_the_model_and_replaces_what_names_the_run() {
        let tail = "--run-id 'r 1' --ckpt-path auto --epochs 8";
        assert_eq!(resumed(&[]), tail);
        assert_eq!(
            resumed(&["--resume", "x", "--set", "channels=4"]),
            "--set channels=4 --resume './burn_trainer_logs/r 1' --epochs 8"
        );
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
