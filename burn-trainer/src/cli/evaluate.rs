//! `--evaluate CKPT`: the numbers of a checkpoint, printed after training.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::Module;
use burn::tensor::Device;
use burn_ckpt::plumbing::is_address;
use burn_ckpt::{Checkpoint, RunLayout, chain, locate};
use clap::Args;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use super::print_result::{print, print_and_keep_model, shown};
use crate::config::TrainerConfig;
use crate::error::Result;
use crate::evaluation::Evaluation;
use crate::mirror::send_evaluations;
use crate::process::console::{say, warn};
use crate::process::progress::figures::span;
use crate::process::run_output::OpenOutput;
use crate::result::FitResult;
use crate::run::find_checkpoint::best;

/// The flag `--evaluate`, for programs that report with [`EvaluateArgs::print_result`]. A program that does
/// not flatten it has no such flag, so that none is ignored.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct EvaluateArgs {
    /// After training, evaluate a checkpoint: best, last, best_METRIC, or a path. Prints its metrics, and
    /// keeps them beside it. A run that is done is not trained again
    #[arg(long, value_name = "CKPT", value_parser = CheckpointOnDisk)]
    pub evaluate: Option<PathBuf>,
}

impl EvaluateArgs {
    /// Has the run check before its first step that there will be a checkpoint of the name that `--evaluate`
    /// gives: `best_val_nope` is an error then, and not when training is done. Call it after
    /// [`TrainArgs::apply`](super::TrainArgs::apply).
    ///
    /// ```
    /// use burn_trainer::TrainerConfig;
    /// use burn_trainer::cli::EvaluateArgs;
    ///
    /// let mut config = TrainerConfig::new().with_primary_metric("val_loss");
    /// EvaluateArgs::default().apply(&mut config); // usually a part of the parsed arguments
    /// ```
    pub fn apply(&self, trainer: &mut TrainerConfig) {
        let name = self.evaluate.as_deref().filter(|wanted| is_name(wanted)).and_then(Path::to_str);
        trainer.read_at_end = name.map(str::to_owned);
    }

    /// Reports as [`print_result`](super::print_result()) does. Then, if `--evaluate` is given and training
    /// was not stopped, evaluates that checkpoint: `evaluate` gets its path, and the device that the model
    /// was trained on.
    ///
    /// The metrics are printed on standard output, a line each, and kept beside the checkpoint
    /// ([`Evaluation::keep`]).
    ///
    /// ```no_run
    /// # use std::process::ExitCode;
    /// # use std::sync::Arc;
    /// # use burn::data::dataloader::DataLoader;
    /// # use burn::train::InferenceStep;
    /// # use burn_ckpt::FromCheckpoint;
    /// # use burn_trainer::cli::EvaluateArgs;
    /// # use burn_trainer::evaluation::ModelEvaluator;
    /// # use burn_trainer::metric::{MeanLoss, MeanLossInput};
    /// # use burn_trainer::{FitResult, Result, TrainerConfig};
    /// # use burn::train::metric::Adaptor;
    /// # fn end<M>(
    /// #     args: EvaluateArgs,
    /// #     result: Result<FitResult<M>>,
    /// #     config: TrainerConfig,
    /// #     test: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    /// # ) -> Result<ExitCode>
    /// # where M: FromCheckpoint + InferenceStep, M::Output: Adaptor<MeanLossInput> {
    /// args.print_result(result, &config, "my-program", |checkpoint, device| {
    ///     ModelEvaluator::<M>::of_checkpoint(checkpoint, device)?.evaluate(test, (MeanLoss::new(),))
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error that training ended with, or the evaluation.
    pub fn print_result<M: Module>(
        &self,
        result: Result<FitResult<M>>,
        config: &TrainerConfig,
        program: &str,
        evaluate: impl FnOnce(&Path, &Device) -> Result<Evaluation>,
    ) -> Result<ExitCode> {
        let reported = print_and_keep_model(result, config, program)?;
        let output = OpenOutput::open(config.run_id.as_deref().unwrap_or_default(), config.progress);
        let _entered = output.enter();
        if let Some((checkpoint, temporary)) = reported.fast_dev_run {
            // Also without the flag, as it is a part of the program. The checkpoint says that one batch is
            // enough.
            let device = reported.model.devices().first().cloned().unwrap_or_default();
            let evaluation = evaluate(&checkpoint, &device)?;
            if config.progress.is_on() {
                say(&format!("fast_dev_run: evaluated {} items of {}", evaluation.items, evaluation.split));
            }
            drop(temporary);
            return Ok(reported.status);
        }
        // The process of rank 0 evaluates.
        let Some(wanted) = self.evaluate.as_ref().filter(|_| config.writes()) else {
            return Ok(reported.status);
        };
        if reported.is_interrupted {
            say("not evaluated: training was stopped. The command that resumes the run evaluates at its end");
            return Ok(reported.status);
        }
        if is_name(wanted) && config.read_at_end.is_none() {
            warn(
                "the name that --evaluate gives was not checked before training: have the program call EvaluateArgs::apply, after \
                 TrainArgs::apply",
            );
        }
        let checkpoint = match is_name(wanted) {
            true if wanted.as_os_str() == "best" => best(config, &RunLayout::at(&reported.run_dir))?,
            true => locate(reported.run_dir.join(wanted))?,
            false => wanted.clone(),
        };
        let device = reported.model.devices().first().cloned().unwrap_or_default();
        drop(reported.model);
        let evaluation = evaluate(&checkpoint, &device)?;
        let mut lines = lines(&evaluation, &checkpoint);
        match evaluation.keep() {
            Ok(file) => {
                send_evaluations(config, &reported.run_dir);
                lines.push(format!("kept: {}", shown(&file)));
            }
            Err(error) => warn(&format!("the evaluation is not kept: {}", chain(&error))),
        }
        Ok(if print(&lines) { reported.status } else { ExitCode::FAILURE })
    }
}

fn lines(evaluation: &Evaluation, checkpoint: &Path) -> Vec<String> {
    let Evaluation { split, items, seconds, .. } = evaluation;
    let checkpoint = evaluation.checkpoint.as_ref().map_or(checkpoint, |checkpoint| &checkpoint.path);
    let part = evaluation.part.as_ref().map_or(String::new(), |part| format!(", its part {part}"));
    let head =
        format!("evaluated on {split}: {}{part} ({items} items, {})", shown(checkpoint), span(*seconds));
    let metrics = evaluation.metrics.iter().map(|(name, value)| format!("{name}: {value}"));
    std::iter::once(head).chain(metrics).collect()
}

/// Whether it names a link of the run: `best`, `last` or `best_<metric>`.
fn is_name(wanted: &Path) -> bool {
    let name = wanted.to_str().unwrap_or_default();
    ["best", "last"].contains(&name) || (name.starts_with("best_") && locate(wanted).is_err())
}

/// Parses a checkpoint that is on disk, as its evaluation is kept beside it. An address is an error that does
/// not repeat it, as it can have a credential.
#[derive(Clone)]
struct CheckpointOnDisk;

impl TypedValueParser for CheckpointOnDisk {
    type Value = PathBuf;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> std::result::Result<PathBuf, clap::Error> {
        if is_address(Path::new(value)) {
            let reason = "--evaluate takes no address, but best, last, best_METRIC or a path, beside which it keeps the metrics: get \
                          the checkpoint with burn-ckpt cp";
            return Err(clap::Error::raw(ErrorKind::ValueValidation, format!("{reason}\n")).with_cmd(command));
        }
        parse_checkpoint.parse_ref(command, argument, value)
    }
}

/// Before training: hours later it would be too late to find a mistyped name.
fn parse_checkpoint(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match is_name(&path) {
        true => Ok(path),
        false => Checkpoint::open(&path).map(|_| path).map_err(|error| {
            format!("it is neither best, last nor best_<metric>, and not a checkpoint: {}", chain(&error))
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        evaluate: EvaluateArgs,
    }

    #[test]
    fn an_address_is_wrong_usage_that_is_not_repeated() {
        for address in ["s3://hunter2@b/r1/last", "file:///hunter2/r1/best"] {
            let error = Program::try_parse_from(["program", "--evaluate", address]).unwrap_err();
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::ValueValidation));
            let error = error.to_string();
            assert!(error.contains("burn-ckpt cp") && !error.contains("hunter2"), "{error}");
        }
        let given = Program::try_parse_from(["program", "--evaluate", "best_val_loss"]).unwrap();
        assert_eq!(given.evaluate.evaluate.as_deref(), Some(Path::new("best_val_loss")));
    }
}
