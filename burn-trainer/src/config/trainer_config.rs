//! The trainer's configuration: plain data with documented defaults, as it stands in every metadata file.

use std::path::PathBuf;

use burn_ckpt::plumbing::{DEFAULT_LOGS, LockMode, WhenBusy};
use serde::{Deserialize, Serialize};

use crate::config::batch_limit::BatchLimit;
use crate::config::early_stopping::EarlyStopping;
use crate::config::init_from::InitFrom;
use crate::config::mirror::MirrorConfig;
use crate::config::validate_at_start::ValidateAtStart;
use crate::config::validation::Validation;
use crate::dataloader::DEFAULT_SEED;
use crate::process::progress::progress_mode::ProgressMode;
use crate::strategy::{Best, Interval, Last, MetricConfig, OnException, StrategyConfig};

/// How a run is trained, where its files go, and what is kept of it.
///
/// | field | default | |
/// |---|---|---|
/// | `primary_metric` | none | with one set, best, last and on-exception checkpoints are on |
/// | `max_epochs` | 1 | from 1 to 10,000,000 |
/// | `min_epochs` | 0 | before them neither early stopping nor a callback ends the run |
/// | `min_steps` | 0 | the same in optimizer steps; with both, both must be done |
/// | `early_stopping` | none | ends the run when a metric no longer improves |
/// | `max_steps`, `max_time` | none | end the run at this optimizer step, or after this time of training |
/// | `limit_train_batches`, `limit_valid_batches` | none | use a part of each epoch's batches: a number, or a fraction of all |
/// | `overfit_batches` | none | train on the same few batches again and again |
/// | `fast_dev_run` | false | one batch of everything, a save and a load, in a temporary directory: nothing is left |
/// | `validation` | each epoch's end | every N steps, every T of training, each part of an epoch, or every N epochs |
/// | `validate_at_start` | false | validate a new run before its first step, or try that on a few batches |
/// | `checkpoint_saving` | true | false turns all saving off |
/// | `metric_files` | true | false: no files of burn's for each metric and epoch, only `metrics.jsonl` |
/// | `report` | false | true: a page of curves for a browser, `report.html` in the run's directory |
/// | `best`, `last`, `on_exception` | none | adjust one of the three that `primary_metric` turns on |
/// | `strategies` | none | replaces the three; an empty list saves nothing |
/// | `run_id` | generated | `{UTC time}-{4 hex digits}` |
/// | `name`, `project`, `tags`, `notes` | none | what people call the run, and find it by |
/// | `trackers` | none | the trackers by their names: `csv`, `mlflow`, `tensorboard` |
/// | `trackers_wait_seconds` | 10 | how long the end of the run waits until a tracker has sent everything |
/// | `root`, `logs` | `.`, `burn_trainer_logs` | the run's directory is `{root}/{logs}/{run_id}` |
/// | `seed` | 42 | of every random number that the loop draws |
/// | `ckpt_path` | none | what to resume: `last`, `best`, `auto`, `none`, or a path |
/// | `init_from` | none | the checkpoint whose weights a new run begins with |
/// | `overwrite` | false | true removes the checkpoints of an earlier run of the same id |
/// | `changed_hparams` | `warn` | what hyperparameters that differ from the checkpoint's mean |
/// | `lock` | `if_possible` | whether the run is locked while it is written: `required`, `if_possible`, `off` |
/// | `handle_signals` | true | SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP: save, then stop |
/// | `slurm_requeue` | false | start a Slurm job again when its time is up |
/// | `rank` | none | set where processes train one model together: only that of rank 0 writes |
/// | `when_busy`, `max_waiting_saves` | `wait`, 1 | when the loop saves faster than the disk writes |
/// | `max_file_bytes` | none (100 GiB) | larger checkpoints are saved in several files |
/// | `failed_saves` | `fail_if_last` | what a failed save means for the exit status |
/// | `mirror` | none | where checkpoints are sent beside training: `s3://bucket/prefix`, `gs://`, `az://`, `file:///disk` |
/// | `end_with` | `last` | whose parameters the returned model has: those of the `last` step, or of the `best` checkpoint |
/// | `device_timeout_seconds` | 60 | how long a device of another machine may take to answer |
/// | `restarts` | 0 | how often a program restarts itself after a device was lost |
/// | `progress` | `auto` | how progress is shown: `auto`, `dashboard`, `plain`, `off` |
/// | `model_summary_depth` | 1 | how deep the table of the model's modules goes that a start prints |
/// | `keep_effective_batch` | false | as many batches in an optimizer step as before, on another number of devices |
/// | `gradient_checkpointing` | false | true computes activations again in the backward pass |
///
/// Every field has a builder method: `with_` and the field's name.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::strategy::{Best, Last};
///
/// let config = TrainerConfig::new()
///     .with_primary_metric("val_loss")
///     .with_max_epochs(10)
///     .with_best(Best::new().with_topk(3))
///     .with_last(Last::new().with_every_n_steps(1000));
/// let same: TrainerConfig = serde_json::from_str(
///     r#"{"primary_metric": "val_loss", "max_epochs": 10, "best": {"topk": 3}, "last": {"every_n_steps": 1000}}"#,
/// )?;
/// assert_eq!(config, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainerConfig {
    /// The metric that ranks the checkpoints (`val_loss`, `val_accuracy`); in JSON a name, or
    /// `{"name": "val_loss", "mode": "min"}`. It turns on `best`, `last` and `on_exception`.
    pub primary_metric: Option<MetricConfig>,
    /// The number of epochs of the whole run, those before a resume included.
    pub max_epochs: usize,
    /// The number of epochs before which neither early stopping nor a callback ends the run.
    pub min_epochs: usize,
    /// The number of optimizer steps before which neither early stopping nor a callback ends the run. With
    /// `min_epochs`, both must be done.
    pub min_steps: u64,
    /// Ends the run when a metric has not improved for some validations; see [`EarlyStopping`].
    pub early_stopping: Option<EarlyStopping>,
    /// The number of optimizer steps of the whole run, at which it ends as done, whatever `max_epochs` says.
    pub max_steps: Option<u64>,
    /// The training time of the whole run (`"12h"`, `"90m"`, or seconds), after which it ends as done at the
    /// next optimizer step. The time of earlier starts counts. That in which the process is suspended does
    /// not.
    pub max_time: Option<Interval>,
    /// How many training batches of each epoch are used. A part (`0.25`) needs a loader of
    /// [`Trainer::loader`](crate::Trainer::loader).
    pub limit_train_batches: Option<BatchLimit>,
    /// The same for each validation. 0 leaves validation out.
    pub limit_valid_batches: Option<BatchLimit>,
    /// Trains on the first batches of the first epoch in each epoch, and validates on as many: a model
    /// without a mistake then reaches a loss near 0. In place of the two limits.
    pub overfit_batches: Option<BatchLimit>,
    /// Trains, validates and evaluates on one batch each, with one optimizer step and all callbacks, saves
    /// the state, loads it back as a resume does, and leaves nothing: all files are in a temporary directory,
    /// which is removed. To see in seconds that a run of hours does not fail at its end.
    pub fast_dev_run: bool,
    /// When the run validates; see [`Validation`].
    pub validation: Validation,
    /// Whether a new run validates before its first step; see [`ValidateAtStart`]. A run that resumes does
    /// not.
    pub validate_at_start: ValidateAtStart,
    /// Whether checkpoints are saved at all.
    pub checkpoint_saving: bool,
    /// Whether burn's metric files are written, one for each metric, split and epoch
    /// (`train/epoch-1/Loss.log`): for burn's own readers, such as `SupervisedTraining::summary`. Without
    /// them a run has two directories less for each epoch. `metrics.jsonl` has the same values. Nothing else
    /// depends on them.
    pub metric_files: bool,
    /// Whether a page about the run is written while it trains: `report.html` in its directory, what
    /// `burn-ckpt report` writes. It follows each epoch and each save on a thread of its own, which uses 2 %
    /// of one processor at most, so a long log is followed less often. The last page says how the run ended.
    /// A page that cannot be written is said once, and the run continues. Needs the feature `report`.
    pub report: bool,
    /// How the best checkpoints are saved. Without `primary_metric`, setting it turns this strategy on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// How the newest checkpoints are saved. Without `primary_metric`, setting it turns this strategy on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// How the state before a failure is saved. Without `primary_metric`, setting it turns this strategy on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exception: Option<OnException>,
    /// Every strategy of the run, in place of the three above. An empty list saves nothing.
    pub strategies: Option<Vec<StrategyConfig>>,
    /// The run's id, which names its directory. Generated when not given.
    pub run_id: Option<String>,
    /// A human's name for the run, for the metadata: at most 256 bytes.
    pub name: Option<String>,
    /// The project that the run belongs to, for the metadata: at most 256 bytes.
    pub project: Option<String>,
    /// Words by which runs are found again (`burn-ckpt ls --tag baseline`): at most 1,000 of up to 256
    /// bytes, as `burn-ckpt tag` adds them, for the metadata.
    pub tags: Vec<String>,
    /// What the run is for, in a human's words: at most 64 KiB, for the metadata.
    pub notes: Option<String>,
    /// The [trackers](crate::trackers) that get what the run logs, by their names: `csv`, `mlflow`,
    /// `tensorboard`. Each needs the feature of this crate that has its name.
    pub trackers: Vec<String>,
    /// How long the end of the run waits, in seconds, until each of these trackers has sent everything. What
    /// is not sent then is said, and sent when the run resumes.
    pub trackers_wait_seconds: f64,
    /// The directory that holds the logs directory. It is UTF-8, as are all paths here, and does not begin
    /// with `~`, which only a shell expands.
    pub root: PathBuf,
    /// The directory that holds the runs.
    pub logs: String,
    /// Seeds the device's random numbers before every batch: see the [crate's page](crate#what-is-exact).
    pub seed: u64,
    /// What to resume: a path to a checkpoint or a link, `last` or `best` of this run, `auto` (the newest
    /// complete checkpoint of this run, or a fresh start where there is none), `none`.
    pub ckpt_path: Option<String>,
    /// The checkpoint whose weights a new run begins with; see [`InitFrom`]. A run that resumes ignores it.
    pub init_from: Option<InitFrom>,
    /// Remove the checkpoints of an earlier run of the same id. Without it, such a run is an error. An error
    /// together with a `ckpt_path` that resumes what would be removed. A Slurm job that `slurm_requeue` has
    /// requeued resumes all the same.
    pub overwrite: bool,
    /// Whether the run is locked while it is written, so that no second process writes to it; see
    /// [`LockMode`].
    pub lock: LockMode,
    /// Save and stop on SIGINT, SIGTERM, SIGUSR1, SIGUSR2 and SIGHUP, from `Trainer::new` on. One that was
    /// ignored when the process began stays ignored. A second SIGINT ends the process at once.
    pub handle_signals: bool,
    /// What it means when a run resumes with other hyperparameters than those in the checkpoint; see
    /// [`ChangedHparams`].
    pub changed_hparams: ChangedHparams,
    /// In a Slurm job: on SIGUSR1 or SIGUSR2 (`#SBATCH --signal=USR1@180`), save and have `scontrol` requeue
    /// the job. The run's id is then the job's unless one is given, and `ckpt_path` is `auto`. A job that
    /// trains several runs gives each an id of its own. SIGTERM does not requeue: `scancel` sends it too, and
    /// Slurm itself requeues a preempted job with `PreemptMode=REQUEUE`.
    pub slurm_requeue: bool,
    /// The rank of this process among those that train one model together, in a loop of your own. Only rank 0
    /// takes the lock, writes and shows progress then. Not set by default: burn trains in one process, so
    /// each process of a launcher (`SLURM_PROCID`, `RANK`, ..) trains and saves a run of its own, and says so
    /// if its rank is not 0.
    pub rank: Option<u64>,
    /// What to do when the queue of saves is full: `wait`, `skip` the new save, or `replace` the waiting one;
    /// see [`WhenBusy`]. Skipped and replaced saves are logged and counted.
    pub when_busy: WhenBusy,
    /// How many snapshots may wait while another is being written. Each pending snapshot uses up to one extra
    /// copy of the state: tensors are copied on write. With 0 there is one extra copy at most.
    pub max_waiting_saves: usize,
    /// The size in bytes above which a checkpoint is saved in several files, for a disk, a quota or a hub
    /// that takes no larger ones. By default 100 GiB, what burn's own reader opens. The tensors of `X.ckpt`
    /// are then in the directory `X.shards` beside it, which is copied and renamed together with it.
    pub max_file_bytes: Option<u64>,
    /// What a checkpoint that cannot be saved means for the run; see [`FailedSaves`].
    pub failed_saves: FailedSaves,
    /// The mirror of the run's checkpoints in an object store or on another disk; see [`MirrorConfig`]. It is
    /// sent each checkpoint on a thread of its own, and a start with `ckpt_path` on an empty disk resumes
    /// from it. Needs the feature `mirror`.
    pub mirror: Option<MirrorConfig>,
    /// Which model training returns: that of the last step, or the best one. See [`EndWith`].
    pub end_with: EndWith,
    /// A run ends with an error within this many seconds after a device of another machine stops answering,
    /// plus the time to finish a checkpoint that was already read from the device. A device that has not
    /// finished its queued work within 3/4 of this time is considered lost, so a step must take less than
    /// that.
    pub device_timeout_seconds: f64,
    /// How often a program that ends with `cli::print_result` restarts itself after a device was lost. It
    /// resumes from the newest checkpoint that it has saved, on the devices that answer.
    pub restarts: u32,
    /// When a run resumes with another number of devices: change the accumulation of gradients so that an
    /// optimizer step uses as many batches as before. It is an error if they cannot be divided evenly.
    /// Otherwise a step uses one batch for each device, times the accumulation that the program set.
    pub keep_effective_batch: bool,
    /// Compute activations again in the backward pass instead of keeping them. A model has that from the
    /// device that it is made on: make it on the one of [`Trainer::device`](crate::Trainer::device). (burn's
    /// own switch, `SupervisedTraining::gradient_checkpointing`, does not reach a custom training strategy.)
    pub gradient_checkpointing: bool,
    /// How this start shows its progress: see [`ProgressMode`]. A run that is resumed does not inherit it.
    pub progress: ProgressMode,
    /// How deep the table of the model's modules goes that a start prints and the metadata has: 1 for the
    /// model's fields, 2 for their fields too, 0 for none. The whole table is
    /// [`model_summary`](crate::model_summary).
    pub model_summary_depth: usize,
    /// Whether the run's id was made up, as none was given.
    #[serde(skip)]
    pub(crate) run_id_is_generated: bool,
    /// The name of the checkpoint that the program reads when training is done: `best`, `last` or
    /// `best_<metric>`.
    #[serde(skip)]
    pub(crate) read_at_end: Option<String>,
}

/// What a failed save means for the run. Each failure is reported at once and stands in the result, and the
/// next save is tried.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::FailedSaves;
///
/// let config = TrainerConfig::new().with_failed_saves(FailedSaves::Stop);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailedSaves {
    /// Nothing: the exit status is 0.
    Ignore,
    /// Training continues. The program fails if the last save failed, as the newest state is then not on
    /// disk. The default.
    FailIfLast,
    /// Training continues. The program fails.
    FailIfAny,
    /// Training stops with an error.
    Stop,
}

/// What it means when a run resumes with other hyperparameters than those in the checkpoint. Each that
/// differs has a line with both values.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::ChangedHparams;
///
/// let config = TrainerConfig::new().with_changed_hparams(ChangedHparams::Error);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangedHparams {
    /// An error before the first step.
    Error,
    /// A warning. The run continues with the program's hyperparameters. The default.
    Warn,
    /// Nothing: they are not compared.
    Allow,
}

/// Whose parameters [`FitResult::model`](crate::FitResult::model) has. Checkpoints do not depend on it.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::EndWith;
///
/// let config = TrainerConfig::new().with_primary_metric("val_loss").with_end_with(EndWith::Best);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndWith {
    /// Those after the last optimizer step. The default.
    Last,
    /// Those of the best checkpoint, that of [`FitResult::best`](crate::FitResult::best), also where training
    /// was stopped or had nothing to do. Without a strategy that saves best checkpoints this is an error
    /// before training, and a run that ends without a whole one ends with an error. A run that is stopped
    /// before there is one returns the model of the last step, and a line says so. So does a process of a
    /// rank that does not write. Where the score is of an average ([`Ema`](crate::callbacks::Ema)), it is
    /// that average.
    Best,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            primary_metric: None,
            max_epochs: 1,
            min_epochs: 0,
            min_steps: 0,
            early_stopping: None,
            max_steps: None,
            max_time: None,
            limit_train_batches: None,
            limit_valid_batches: None,
            overfit_batches: None,
            fast_dev_run: false,
            validation: Validation::default(),
            validate_at_start: ValidateAtStart::Off,
            checkpoint_saving: true,
            metric_files: true,
            report: false,
            best: None,
            last: None,
            on_exception: None,
            strategies: None,
            run_id: None,
            name: None,
            project: None,
            tags: Vec::new(),
            notes: None,
            trackers: Vec::new(),
            trackers_wait_seconds: 10.0,
            root: PathBuf::from("."),
            logs: DEFAULT_LOGS.to_owned(),
            seed: DEFAULT_SEED,
            ckpt_path: None,
            init_from: None,
            overwrite: false,
            lock: LockMode::IfPossible,
            handle_signals: true,
            changed_hparams: ChangedHparams::Warn,
            slurm_requeue: false,
            rank: None,
            when_busy: WhenBusy::Wait,
            max_waiting_saves: 1,
            max_file_bytes: None,
            failed_saves: FailedSaves::FailIfLast,
            mirror: None,
            end_with: EndWith::Last,
            device_timeout_seconds: 60.0,
            restarts: 0,
            keep_effective_batch: false,
            gradient_checkpointing: false,
            progress: ProgressMode::Auto,
            model_summary_depth: 1,
            run_id_is_generated: false,
            read_at_end: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_the_documentation_names_every_field() {
        let source = include_str!("trainer_config.rs");
        let rows = source.lines().filter_map(|line| line.strip_prefix("/// | `")?.split(" |").next());
        let named: BTreeSet<&str> = rows.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
        assert_eq!(named, fields().iter().map(String::as_str).collect());
    }

    #[test]
    fn every_field_has_a_builder() {
        let source = include_str!("builders.rs");
        for field in fields() {
            let method = |end: &str| source.contains(&format!(" with_{field}{end}"));
            assert!(method("(") || method(", "), "{field}");
        }
    }

    fn fields() -> BTreeSet<String> {
        // The three are left out where they are not set.
        let config = TrainerConfig::default().with_best(Best::new()).with_last(Last::new());
        let json = serde_json::to_value(config.with_on_exception(OnException::new())).unwrap();
        json.as_object().unwrap().keys().cloned().collect()
    }
}
