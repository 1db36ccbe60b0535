//! The flags that training programs share: `--epochs`, `--ckpt-path`, `--set KEY=VALUE` and so on.
//!
//! A program flattens [`TrainArgs`] into its own clap parser, applies them to its configurations, and reports
//! with [`print_result`]. Results go to standard output, everything else to standard error.
//!
//! [`EvaluateArgs`] adds `--evaluate`, for programs that compute their model's numbers after training.
//! [`FindArgs`] adds `--find-lr` and `--find-batch-size`, for programs that find these settings.
//!
//! | exit status | |
//! |---|---|
//! | 0 | done, or stopped by the program itself or by `q` on the dashboard, which standard error says |
//! | 1 | training failed, or the newest state is not on disk |
//! | 2 | wrong usage |
//! | 75 | a device of another machine was lost; a later start can resume (`EX_TEMPFAIL` of sysexits.h, for a supervisor's restart rule) |
//! | 128 + signal | a signal stopped training and the state is saved, or stopped the start: 130 for SIGINT, 143 for SIGTERM |
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use burn_trainer::TrainerConfig;
//! use burn_trainer::cli::{self, TrainArgs};
//! use clap::Parser;
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     train: TrainArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     cli::main(|| {
//!         let mut config = TrainerConfig::new().with_primary_metric("val_loss");
//!         let mut hparams = serde_json::json!({ "width": 64 }); // usually a type of your own
//!         let args: Args = cli::parse(&config, &hparams); // --help lists the keys of --set
//!         args.train.apply(&mut config, &mut hparams)?;
//!         let result = train(config.clone(), &hparams);
//!         cli::print_result(result, &config, "my-program")
//!     })
//! }
//! # type Model = burn::nn::Linear;
//! # fn train(_: TrainerConfig, _: &serde_json::Value) -> burn_trainer::Result<burn_trainer::FitResult<Model>> {
//! #     unimplemented!()
//! # }
//! ```

mod arguments;
mod evaluate;
mod find;
mod finder_input;
mod found_file;
mod named_once;
mod output_file;
mod print_error;
mod print_result;
mod restart;
mod resume;
mod set;

pub use evaluate::EvaluateArgs;
pub use find::FindArgs;
pub use finder_input::FinderInput;
pub use output_file::check_output_file;
pub use print_result::print_result;
pub use restart::is_restart;
pub use set::list_keys::parse;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use burn_ckpt::ErrorKind;
use burn_ckpt::retention::TopK;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{MirrorConfig, ProgressMode, TrainerConfig};
use crate::error::{Error, Result};
use crate::stopping::resume_command;
use crate::strategy::{Best, Interval, Last, StrategyConfig};

/// Exit status for wrong usage.
const USAGE: u8 = 2;
/// Exit status for a failure that a later start can pass.
const TRY_AGAIN: u8 = 75;

/// Flags for any field of a [`TrainerConfig`], with short ones for those that are used most.
///
/// The [module's page](crate::cli) has an example.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct TrainArgs {
    /// Number of epochs of the whole run
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Seed of the device's random numbers and of the shuffled order
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
    /// Resume a run (its directory, its id, or one of its checkpoints) with the hyperparameters and the
    /// settings in its checkpoint; other flags change what they name
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run_id", "ckpt_path", "overwrite"])]
    pub resume: Option<PathBuf>,
    /// Also save every N optimizer steps
    #[arg(long, value_name = "N")]
    pub save_every_steps: Option<u64>,
    /// Also save every S seconds of training
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub save_every_seconds: Option<f64>,
    /// Number of best checkpoints to keep, or "all"
    #[arg(long, value_name = "K", value_parser = parse_topk)]
    pub topk: Option<TopK>,
    /// How often to restart after a device was lost, from the newest checkpoint, on the devices that answer
    #[arg(long, value_name = "N")]
    pub restarts: Option<u32>,
    /// Remove what an earlier run of the same id left
    #[arg(long)]
    pub overwrite: bool,
    /// How progress is shown: auto (the dashboard if standard output is a terminal, else lines), dashboard,
    /// plain (lines), or off (only warnings and errors)
    #[arg(long, value_name = "HOW", value_parser = parse_progress)]
    pub progress: Option<ProgressMode>,
    /// Send what the run logs to a tracker: csv, mlflow, tensorboard; may be repeated
    #[arg(long, value_name = "TRACKER")]
    pub track: Vec<String>,
    /// Send checkpoints there, beside training, and resume from there on an empty disk: s3://bucket/prefix,
    /// gs://bucket/prefix, az://container/prefix, or file:///directory
    #[arg(long, value_name = "ADDRESS")]
    #[cfg_attr(not(feature = "mirror"), arg(hide = true))]
    pub mirror: Option<String>,
    /// Only try: one batch of everything, one optimizer step, a save and a load, in a temporary directory.
    /// Leaves nothing
    #[arg(long)]
    pub fast_dev_run: bool,
    /// Set any field of the trainer's or the program's configuration, like --set max_epochs=3, --set
    /// best.topk=3 or --set name=first; the value is JSON, or a text as it stands
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl TrainArgs {
    /// Applies the flags to the trainer's configuration, and `--set` to that or the program's own. The
    /// trainer's has a run id then, so that [`print_result`] can name the run however it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the flag, and for `--set` the keys there are or the type that was expected.
    pub fn apply<C: Serialize + DeserializeOwned>(
        &self,
        trainer: &mut TrainerConfig,
        program: &mut C,
    ) -> Result<()> {
        // Before a run is looked for. Those of a strategy are known when it is found.
        named_once::check(&self.set, &self.fields(), &[])?;
        if let Some(root) = &self.root {
            trainer.root.clone_from(root);
        }
        // The run's id is looked for below the root.
        if let Some(run) = &self.resume {
            resume::resume(run, trainer, program)?;
        }
        if let Some(epochs) = self.epochs {
            trainer.max_epochs = epochs;
        }
        if let Some(seed) = self.seed {
            trainer.seed = seed;
        }
        if self.run_id.is_some() {
            trainer.run_id.clone_from(&self.run_id);
        }
        if self.ckpt_path.is_some() {
            trainer.ckpt_path.clone_from(&self.ckpt_path);
        }
        trainer.restarts = self.restarts.unwrap_or(trainer.restarts);
        trainer.overwrite |= self.overwrite;
        trainer.progress = self.progress.unwrap_or(trainer.progress);
        for tracker in &self.track {
            if !trainer.trackers.contains(tracker) {
                trainer.trackers.push(tracker.clone());
            }
        }
        if let Some(address) = &self.mirror {
            trainer.mirror = Some(match trainer.mirror.take() {
                // The other settings of the program's own mirror stay.
                Some(mirror) => MirrorConfig { address: address.clone(), ..mirror },
                None => MirrorConfig::new(address),
            });
        }
        trainer.fast_dev_run |= self.fast_dev_run;
        self.apply_to_strategies(trainer)?;
        let strategies = trainer.strategies.clone().unwrap_or_else(|| trainer.effective_strategies());
        named_once::check(&self.set, &self.fields(), &strategies)?;
        for assignment in &self.set {
            set::set(assignment, trainer, program)?;
        }
        let now = Timestamp::now();
        restart::note_begin(now);
        trainer.fill_in(now);
        resume_command::set(print_result::resume_line_of_process);
        Ok(())
    }

    /// Fails if `--set` names a field that a flag of the program's own is given for too, or what holds that
    /// field: which of the two counts would be a guess.
    ///
    /// ```
    /// # use burn_trainer::cli::TrainArgs;
    /// # let (train, data) = (TrainArgs::default(), Some("mnist"));
    /// train.check_own_flag("--data", "data", data.is_some())?;
    /// # Ok::<(), burn_trainer::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming both.
    pub fn check_own_flag(&self, flag: &str, field: &str, is_given: bool) -> Result<()> {
        named_once::check(&self.set, &[(flag, field, is_given)], &[])
    }

    /// The flags with the fields that they set, and whether they are given.
    fn fields(&self) -> [(&'static str, &'static str, bool); 19] {
        let resumes = self.resume.is_some();
        [
            ("--epochs", "max_epochs", self.epochs.is_some()),
            ("--seed", "seed", self.seed.is_some()),
            ("--root", "root", self.root.is_some()),
            ("--run-id", "run_id", self.run_id.is_some()),
            ("--ckpt-path", "ckpt_path", self.ckpt_path.is_some()),
            ("--save-every-steps", "last.every_n_steps", self.save_every_steps.is_some()),
            ("--save-every-seconds", "last.save_on_time_interval", self.save_every_seconds.is_some()),
            ("--topk", "best.topk", self.topk.is_some()),
            ("--restarts", "restarts", self.restarts.is_some()),
            ("--overwrite", "overwrite", self.overwrite),
            ("--progress", "progress", self.progress.is_some()),
            ("--track", "trackers", !self.track.is_empty()),
            ("--mirror", "mirror.address", self.mirror.is_some()),
            ("--fast-dev-run", "fast_dev_run", self.fast_dev_run),
            ("--resume", "run_id", resumes),
            ("--resume", "root", resumes),
            ("--resume", "logs", resumes),
            ("--resume", "ckpt_path", resumes),
            ("--resume", "overwrite", resumes),
        ]
    }

    fn apply_to_strategies(&self, trainer: &mut TrainerConfig) -> Result<()> {
        let interval = self.save_every_seconds.map(|seconds| match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(Interval(duration)),
            _ => Err(Error::config("--save-every-seconds", format!("{seconds} is not above 0"))),
        });
        let interval = interval.transpose()?;
        if self.save_every_steps == Some(0) {
            return Err(Error::config("--save-every-steps", "it must be above 0"));
        }
        let set_best = |best: &mut Best| best.topk = self.topk.unwrap_or(best.topk);
        let set_last = |last: &mut Last| {
            last.every_n_steps = self.save_every_steps.or(last.every_n_steps);
            last.save_on_time_interval = interval.or(last.save_on_time_interval);
        };
        let sets_last = self.save_every_steps.is_some() || interval.is_some();
        if let Some(strategies) = &trainer.strategies {
            check_has(strategies, "best", self.topk.is_some().then_some("--topk"))?;
            let flag = if interval.is_some() { "--save-every-seconds" } else { "--save-every-steps" };
            check_has(strategies, "last", sets_last.then_some(flag))?;
        }
        match &mut trainer.strategies {
            Some(strategies) => strategies.iter_mut().for_each(|strategy| match strategy {
                StrategyConfig::Best(best) => set_best(best),
                StrategyConfig::Last(last) => set_last(last),
                StrategyConfig::OnException(_) => {}
            }),
            None => {
                if self.topk.is_some() {
                    set_best(trainer.best.get_or_insert_default());
                }
                if sets_last {
                    set_last(trainer.last.get_or_insert_default());
                }
            }
        }
        Ok(())
    }
}

/// Fails for a flag of a kind of strategy that the run does not have: it would change nothing.
fn check_has(strategies: &[StrategyConfig], kind: &str, flag: Option<&str>) -> Result<()> {
    let kinds: Vec<&str> = strategies.iter().map(StrategyConfig::kind).collect();
    match flag {
        Some(flag) if !kinds.contains(&kind) => {
            let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
            let reason = format!("it is a setting of the strategy {kind}, and those of the run are: {kinds}");
            Err(Error::config(flag, reason))
        }
        _ => Ok(()),
    }
}

/// Runs a training program: prints its error, if it has one, and gives the exit status.
///
/// The [module's page](crate::cli) has an example.
pub fn main(run: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            print_error::say_error(&error);
            match error {
                Error::Config { .. } | Error::UnknownMetric { .. } | Error::RunExists { .. } => {
                    ExitCode::from(USAGE)
                }
                Error::StoppedAtStart { exit_status, .. } => ExitCode::from(exit_status),
                Error::DeviceLost { .. } => ExitCode::from(TRY_AGAIN),
                Error::RemoteDevice { .. } if is_restart() => ExitCode::from(TRY_AGAIN),
                Error::Checkpoint(error) if error.kind() == ErrorKind::InvalidName => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn parse_progress(text: &str) -> std::result::Result<ProgressMode, String> {
    let named = ProgressMode::NAMED.into_iter().find(|(name, _)| *name == text);
    named.map(|(_, progress)| progress).ok_or_else(|| "it is one of auto, dashboard, plain, off".to_owned())
}

fn parse_topk(text: &str) -> std::result::Result<TopK, String> {
    match (text.parse::<usize>(), text) {
        (Ok(count), _) if count > 0 => Ok(count.into()),
        (_, "all") => Ok(TopK::All),
        _ => Err("a whole number above 0, or all".to_owned()),
    }
}
