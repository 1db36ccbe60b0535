//! The flags that training programs share: `--epochs`, `--ckpt-path`, `--set KEY=JSON` and so on.
//!
//! A program flattens [`TrainArgs`] into its own clap parser, applies them to its configurations, and reports
//! with [`report`]. Results go to standard output, everything else to standard error; the exit status is 0 when
//! done, 1 when training failed, 2 for wrong usage.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use burn_ckpt::{Checkpoint, OPTIMIZER, TopK};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{FailedSaves, TrainerConfig};
use crate::error::{Error, Result};
use crate::progress::say;
use crate::strategy::{Interval, StrategyConfig};
use crate::trainer::FitResult;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Flags for any field of a [`TrainerConfig`], with short ones for those that are used most.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainArgs {
    /// Number of epochs of the whole run
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Directory that holds the logs directory
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Id of the run, which names its directory; made up when not given
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
    /// What to resume: none, last, best, auto, or a path
    #[arg(long, value_name = "CKPT")]
    pub ckpt_path: Option<String>,
    /// Save every so many optimizer steps too
    #[arg(long, value_name = "N")]
    pub save_every_steps: Option<u64>,
    /// Save after so many seconds too
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub save_every_seconds: Option<f64>,
    /// Number of best checkpoints to keep, or "all"
    #[arg(long, value_name = "K", value_parser = parse_topk)]
    pub topk: Option<TopK>,
    /// Remove what an earlier run of the same id left
    #[arg(long)]
    pub overwrite: bool,
    /// Set any field of the trainer's or the program's configuration, like --set max_epochs=3 or
    /// --set strategies.0.topk=3
    #[arg(long, value_name = "KEY=JSON")]
    pub set: Vec<String>,
}

impl TrainArgs {
    /// Applies the flags to the trainer's configuration, and `--set` to that or the program's own.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the flag, and for `--set` the keys there are or the type that was expected.
    pub fn apply<C: Serialize + DeserializeOwned>(
        &self,
        trainer: &mut TrainerConfig,
        program: &mut C,
    ) -> Result<()> {
        if let Some(epochs) = self.epochs {
            trainer.max_epochs = epochs;
        }
        if let Some(seed) = self.seed {
            trainer.seed = seed;
        }
        if let Some(root) = &self.root {
            trainer.root.clone_from(root);
        }
        if self.run_id.is_some() {
            trainer.run_id.clone_from(&self.run_id);
        }
        if self.ckpt_path.is_some() {
            trainer.ckpt_path.clone_from(&self.ckpt_path);
        }
        trainer.overwrite |= self.overwrite;
        self.apply_to_strategies(trainer)?;
        for assignment in &self.set {
            set(assignment, trainer, program)?;
        }
        Ok(())
    }

    fn apply_to_strategies(&self, trainer: &mut TrainerConfig) -> Result<()> {
        if trainer.strategies.is_empty() {
            // Spelled out, so that flags and --set have something to change.
            trainer.strategies = trainer.effective_strategies();
        }
        let interval = self.save_every_seconds.map(|seconds| match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(Interval(duration)),
            _ => Err(Error::config("--save-every-seconds", format!("{seconds} is not above 0"))),
        });
        let interval = interval.transpose()?;
        if self.save_every_steps == Some(0) {
            return Err(Error::config("--save-every-steps", "it must be above 0"));
        }
        for strategy in &mut trainer.strategies {
            match strategy {
                StrategyConfig::Best(best) => best.topk = self.topk.unwrap_or(best.topk),
                StrategyConfig::Last(last) => {
                    last.every_n_steps = self.save_every_steps.or(last.every_n_steps);
                    last.save_on_time_interval = interval.or(last.save_on_time_interval);
                }
                StrategyConfig::OnException(_) => {}
            }
        }
        Ok(())
    }
}

/// Runs a training program: prints its error, if it has one, and gives the exit status.
pub fn main(run: impl FnOnce() -> Result<bool>) -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            match error {
                Error::Config { .. } | Error::UnknownMetric { .. } | Error::RunExists { .. } => {
                    ExitCode::from(USAGE)
                }
                Error::Checkpoint(burn_ckpt::Error::Name { .. }) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Prints where the checkpoints are, the best score, and the command that goes on from here. Returns whether
/// that is a success by the configuration's `failed_saves`, for [`main`].
///
/// `program` is how the program is started (`cargo xtask train digits`); the command repeats the arguments that
/// it was started with, as far as they do not say what to resume.
///
/// Takes the result, since burn's terminal dashboard has to be closed before anything that is printed stays.
pub fn report<M>(result: FitResult<M>, config: &TrainerConfig, program: &str) -> bool {
    drop(result.renderer);
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
    if let Some(reason) = &result.interrupted {
        say(&format!("stopped before the last epoch: {reason}"));
    }
    for (step, error) in &result.failed_saves {
        say(&format!("saving step {step} failed: {error}"));
    }
    if result.skipped_saves > 0 {
        say(&format!("{} saves were skipped because the disk was behind", result.skipped_saves));
    }
    if result.checkpoints.values().any(|held| can_be_resumed(&held.path)) {
        // A run that is done goes on only with more epochs.
        let (done, wanted) = (usize::try_from(result.epochs).unwrap_or(usize::MAX), config.max_epochs);
        let epochs = if done >= wanted { done.saturating_mul(2) } else { wanted };
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        lines.push(format!("resume: {program} {}", resume_arguments(&arguments, &result.run_id, epochs)));
    }
    // Nobody may be reading any more (`| head`), which is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
    match config.failed_saves {
        FailedSaves::Ignore => true,
        FailedSaves::FailIfAny => result.failed_saves.is_empty() && !result.last_save_failed,
        FailedSaves::FailIfLast | FailedSaves::Stop => !result.last_save_failed,
    }
}

fn can_be_resumed(path: &Path) -> bool {
    Checkpoint::open(path).is_ok_and(|checkpoint| checkpoint.has_section(OPTIMIZER))
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

fn set<C: Serialize + DeserializeOwned>(
    assignment: &str,
    trainer: &mut TrainerConfig,
    program: &mut C,
) -> Result<()> {
    let wrong = |reason: String| Error::config(format!("--set {assignment}"), reason);
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(wrong("write it as KEY=JSON".to_owned()));
    };
    // The other name of the field, which serde knows for whole configurations alone.
    let renamed = key.strip_prefix("callbacks").filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let key = &renamed.map_or(key.to_owned(), |rest| format!("strategies{rest}"));
    let value: Value = serde_json::from_str(text).map_err(|error| {
        wrong(format!("{text:?} is no JSON ({error}); put text in quotes: --set '{key}=\"{text}\"'"))
    })?;
    let to_json = |error: serde_json::Error| wrong(error.to_string());
    let mut trainer_json = serde_json::to_value(&*trainer).map_err(to_json)?;
    let mut program_json = serde_json::to_value(&*program).map_err(to_json)?;
    if let Some(slot) = trainer_json.pointer_mut(&pointer(key)) {
        *slot = value;
        *trainer = serde_json::from_value(trainer_json).map_err(to_json)?;
        return Ok(());
    }
    if let Some(slot) = program_json.pointer_mut(&pointer(key)) {
        *slot = value;
        *program = serde_json::from_value(program_json).map_err(to_json)?;
        return Ok(());
    }
    Err(wrong(match (known_keys(&trainer_json, key), known_keys(&program_json, key)) {
        // As far as it goes, the key leads into one of the two.
        (Some((place, keys)), _) | (None, Some((place, keys))) => format!("{place} has {keys}"),
        (None, None) => {
            let (trainer, program) = (listed(&trainer_json), listed(&program_json));
            format!("there is no {key:?}; the trainer has {trainer}; the program has {program}")
        }
    }))
}

/// The deepest place that a dotted key leads to, and the keys that there are; `None` where not even its first part
/// is known.
fn known_keys(json: &Value, key: &str) -> Option<(String, String)> {
    key.rmatch_indices('.').find_map(|(end, _)| {
        let place = &key[..end];
        let keys = listed(json.pointer(&pointer(place))?);
        Some((place.to_owned(), keys))
    })
}

fn listed(json: &Value) -> String {
    match json {
        Value::Object(object) => object.keys().cloned().collect::<Vec<_>>().join(", "),
        Value::Array(array) => format!("the numbers below {}", array.len()),
        _ => "nothing below it".to_owned(),
    }
}

/// A dotted key (`strategies.0.topk`) as a JSON pointer (RFC 6901).
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1").replace('.', "/"))
}

fn parse_topk(text: &str) -> std::result::Result<TopK, String> {
    let count = text.parse().ok().and_then(TopK::count);
    match (count, text) {
        (Some(count), _) => Ok(count),
        (None, "all") => Ok(TopK::All),
        _ => Err("a whole number above 0, or all".to_owned()),
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

    #[test]
    fn only_keys_that_there_are_can_be_set() {
        let mut trainer = TrainerConfig::default().with_primary_metric("val_loss");
        let mut program = serde_json::json!({ "width": 3 });
        let args = |set: &str| TrainArgs { set: vec![set.to_owned()], ..TrainArgs::default() };
        args("width=4").apply(&mut trainer, &mut program).unwrap();
        assert_eq!(program["width"], 4);
        args("strategies.0.topk=3").apply(&mut trainer, &mut program).unwrap();
        assert!(
            matches!(&trainer.strategies[0], StrategyConfig::Best(best) if Some(best.topk) == TopK::count(3))
        );
        let error = args("widht=4").apply(&mut trainer, &mut program).unwrap_err().to_string();
        assert!(error.contains("the program has width") && error.contains("max_epochs"), "{error}");
    }
}
