//! The trainer's configuration: plain data with documented defaults, as it stands in every metadata file.

use std::path::PathBuf;
use std::time::Duration;

use burn_ckpt::plumbing::{DEFAULT_LOGS, WhenBusy};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::launcher;
use crate::strategy::{
    Best, DEFAULT_TIMEOUT_SECONDS, Last, MAX_TIMEOUT_SECONDS, OnException, StrategyConfig,
};

/// How a run is trained, where its files go, and what is kept of it.
///
/// | field | default | |
/// |---|---|---|
/// | `primary_metric` | none | with one set, best, last and on-exception checkpoints are on |
/// | `max_epochs` | 1 | |
/// | `checkpoint_saving` | true | false turns all saving off |
/// | `strategies` | empty | replaces the three that `primary_metric` turns on |
/// | `run_id` | made up | `{UTC time}-{4 hex digits}` |
/// | `root`, `logs` | `.`, `burn_trainer_logs` | the run's directory is `{root}/{logs}/{run_id}` |
/// | `seed` | 42 | of every random number that the loop draws |
/// | `ckpt_path` | none | what to resume: `last`, `best`, `auto`, `none`, or a path |
/// | `handle_signals` | true | SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP: save, then stop |
/// | `slurm_requeue` | false | start a Slurm job again when its time is up |
/// | `rank` | the launcher's | only the process of rank 0 writes |
/// | `when_busy`, `max_waiting_saves` | `wait`, 1 | when the loop saves faster than the disk writes |
/// | `failed_saves` | `fail_if_last` | when the disk refuses |
/// | `device_timeout_seconds` | 60 | how long a device of another machine may be silent |
/// | `restarts` | 0 | how often a program starts itself again after a device was lost |
/// | `keep_effective_batch` | false | as many batches in an optimizer step as before, on another number of devices |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerConfig {
    /// The metric that tells how good the model is (`val_loss`, `val_accuracy`).
    pub primary_metric: Option<String>,
    /// The number of epochs of the whole run, those before a resume included.
    pub max_epochs: usize,
    /// Whether checkpoints are saved at all.
    pub checkpoint_saving: bool,
    /// What is saved and kept. Empty: best (by `primary_metric`), last and on-exception where `primary_metric`
    /// is set, nothing where it is not. Also read under the name `callbacks`.
    #[serde(alias = "callbacks")]
    pub strategies: Vec<StrategyConfig>,
    /// The run's id, which names its directory. Made up when not given.
    pub run_id: Option<String>,
    /// A human's name for the run, for the metadata.
    pub name: Option<String>,
    /// The project that the run belongs to, for the metadata.
    pub project: Option<String>,
    /// The directory that holds the logs directory.
    pub root: PathBuf,
    /// The directory that holds the runs.
    pub logs: String,
    /// Seeds the device's random numbers, before every batch anew: see the [crate's page](crate#what-is-exact).
    pub seed: u64,
    /// What to resume: a path to a checkpoint or a link, `last` or `best` of this run, `auto` (the newest whole
    /// checkpoint of this run, or a fresh start where there is none), `none`.
    pub ckpt_path: Option<String>,
    /// Remove what an earlier run of the same id left. Without it, such a run is an error. It cannot be combined with a
    /// `ckpt_path` that goes on from what would be removed; a Slurm job under `slurm_requeue` then goes on.
    pub overwrite: bool,
    /// Save and stop on SIGINT, SIGTERM, SIGUSR1, SIGUSR2, and on SIGHUP unless it is ignored. A SIGINT after that
    /// ends the process at once.
    pub handle_signals: bool,
    /// In a Slurm job: when SIGUSR1 or SIGUSR2 comes (`#SBATCH --signal=USR1@120`), have `scontrol` requeue the job after
    /// the save. For that the run's id is the job's where none is given, and `ckpt_path` is `auto`; a job that trains
    /// several times gives each a run id of its own. SIGTERM does not
    /// requeue: `scancel` sends it too, and Slurm itself requeues what it preempts with `PreemptMode=REQUEUE`.
    pub slurm_requeue: bool,
    /// The rank of this process among those that train together; by default what `RANK`, `OMPI_COMM_WORLD_RANK`,
    /// `PMI_RANK`, `PMIX_RANK`, `JSM_NAMESPACE_RANK` or `SLURM_PROCID` says. Only the process of rank 0 takes the lock and writes.
    pub rank: Option<u64>,
    /// What to do when the loop saves faster than the disk writes: `wait` for it, `skip` the save and say so, or
    /// `replace` the one that waits, and say so; see [`WhenBusy`].
    pub when_busy: WhenBusy,
    /// How many states may wait while another is being written. Each of them, and the one being written, keeps a copy of
    /// the state on the device as far as training has changed it since; with 0 there is one such copy at most.
    pub max_waiting_saves: usize,
    /// What a checkpoint that cannot be saved means for the run; see [`FailedSaves`].
    pub failed_saves: FailedSaves,
    /// Within how many seconds a run ends with an error when a device of another machine does not answer any more (plus the
    /// time to finish a checkpoint that has been read from it). A device answers when it has done what it was given: it
    /// counts as lost after three quarters of this time, so that a step may not take as long.
    pub device_timeout_seconds: f64,
    /// How often a program that ends with `cli::report` starts itself again after a device was lost:
    /// from the newest checkpoint, on the devices that answer.
    pub restarts: u32,
    /// When a run goes on with another number of devices: change the accumulation of gradients so that an optimizer step
    /// uses as many batches as before, or fail where they cannot be shared out. Otherwise the step uses one batch a device,
    /// times the accumulation that the program set.
    pub keep_effective_batch: bool,
    /// Recompute activations in the backward pass instead of keeping them. (burn's own switch,
    /// `SupervisedTraining::gradient_checkpointing`, does not reach a custom training strategy.)
    pub gradient_checkpointing: bool,
}

/// What a checkpoint that cannot be saved means for the run. It is said at once and stands in the result in any case,
/// and saving is tried again the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedSaves {
    /// Nothing: the exit status is 0.
    Ignore,
    /// Training goes on; the program fails if the last save did, so that the newest state is not on disk. The
    /// default.
    FailIfLast,
    /// Training goes on; the program fails.
    FailIfAny,
    /// Training stops with an error.
    Stop,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            primary_metric: None,
            max_epochs: 1,
            checkpoint_saving: true,
            strategies: Vec::new(),
            run_id: None,
            name: None,
            project: None,
            root: PathBuf::from("."),
            logs: DEFAULT_LOGS.to_owned(),
            seed: 42,
            ckpt_path: None,
            overwrite: false,
            handle_signals: true,
            slurm_requeue: false,
            rank: None,
            when_busy: WhenBusy::Wait,
            max_waiting_saves: 1,
            failed_saves: FailedSaves::FailIfLast,
            device_timeout_seconds: 60.0,
            restarts: 0,
            keep_effective_batch: false,
            gradient_checkpointing: false,
        }
    }
}

impl TrainerConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the primary metric, which turns on best, last and on-exception checkpoints.
    #[must_use]
    pub fn with_primary_metric(mut self, metric: impl Into<String>) -> Self {
        self.primary_metric = Some(metric.into());
        self
    }

    /// Sets the number of epochs of the whole run.
    #[must_use]
    pub fn with_max_epochs(mut self, epochs: usize) -> Self {
        self.max_epochs = epochs;
        self
    }

    /// Turns all saving on or off.
    #[must_use]
    pub fn with_checkpoint_saving(mut self, saving: bool) -> Self {
        self.checkpoint_saving = saving;
        self
    }

    /// Adds a strategy. The first one replaces the defaults.
    #[must_use]
    pub fn with_strategy(mut self, strategy: StrategyConfig) -> Self {
        self.strategies.push(strategy);
        self
    }

    /// Sets the run's id.
    #[must_use]
    pub fn with_run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Sets the directory that holds the logs directory.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what to resume.
    #[must_use]
    pub fn with_ckpt_path(mut self, path: impl Into<String>) -> Self {
        self.ckpt_path = Some(path.into());
        self
    }

    /// Whether this process writes checkpoints and metric files: it is alone, or of rank 0.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.rank.unwrap_or_else(launcher::rank) == 0
    }

    /// Fills in what was left to the trainer: the run's id, and under `slurm_requeue` what makes a job that was started
    /// again go on.
    pub(crate) fn fill_in(&mut self, start: Timestamp) {
        let job = self.slurm_requeue.then(launcher::slurm_job).flatten();
        if job.is_some() {
            self.ckpt_path.get_or_insert_with(|| "auto".to_owned());
        }
        self.run_id
            .get_or_insert_with(|| job.map_or_else(|| made_up_id(start), |job| format!("slurm-{job}")));
    }

    /// The strategies that apply: those given, or else those that `primary_metric` turns on.
    #[must_use]
    pub fn effective_strategies(&self) -> Vec<StrategyConfig> {
        match (self.checkpoint_saving, self.strategies.is_empty(), &self.primary_metric) {
            (false, _, _) | (true, true, None) => Vec::new(),
            (true, false, _) => self.strategies.clone(),
            (true, true, Some(_)) => vec![
                StrategyConfig::Best(Best::default()),
                StrategyConfig::Last(Last::default()),
                StrategyConfig::OnException(OnException::default()),
            ],
        }
    }

    /// The longest that an exception's save may take by any of the strategies.
    pub(crate) fn exception_timeout(&self) -> Duration {
        let seconds = self.effective_strategies().into_iter().filter_map(|strategy| match strategy {
            StrategyConfig::OnException(config) => Some(config.timeout_seconds),
            _ => None,
        });
        // Also without such a strategy: what was handed over before the failure is still to be written.
        let seconds = seconds.reduce(f64::max).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How long a device of another machine may be silent.
    pub(crate) fn device_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.device_timeout_seconds).unwrap_or(Duration::MAX)
    }

    /// Checks what can be checked before metrics and files are known.
    pub(crate) fn check(&self) -> Result<()> {
        let seconds = self.device_timeout_seconds;
        if !is_timeout(seconds) {
            return Err(Error::config("device_timeout_seconds", no_timeout(seconds)));
        }
        for (position, strategy) in self.effective_strategies().iter().enumerate() {
            let setting = |field: &str| format!("strategies.{position}.{field}");
            match strategy {
                StrategyConfig::Best(best) if best.metric.is_none() && self.primary_metric.is_none() => {
                    return Err(Error::config(
                        setting("metric"),
                        "it is not set, and neither is primary_metric",
                    ));
                }
                StrategyConfig::Last(last) if last.every_n_steps == Some(0) => {
                    return Err(Error::config(setting("every_n_steps"), "it must be above 0"));
                }
                StrategyConfig::OnException(OnException { timeout_seconds: seconds, .. })
                    if !is_timeout(*seconds) =>
                {
                    return Err(Error::config(setting("timeout_seconds"), no_timeout(*seconds)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_timeout(seconds: f64) -> bool {
    seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS
}

fn no_timeout(seconds: f64) -> String {
    format!("{seconds} is not a number of seconds above 0, up to {MAX_TIMEOUT_SECONDS}")
}

/// `2024-01-15T10-30-00-3f2a`: sorts by time, and two started in one second differ.
fn made_up_id(start: Timestamp) -> String {
    let mixed = start.subsec_nanosecond().cast_unsigned() ^ std::process::id().wrapping_mul(0x9E37_79B9);
    format!("{}-{:04x}", start.strftime("%Y-%m-%dT%H-%M-%S"), (mixed ^ (mixed >> 16)) & 0xFFFF)
}
