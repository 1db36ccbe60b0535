//! What `Trainer::fit` and `Trainer::fit_with` return.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use burn::tensor::Device;
use burn::train::renderer::MetricsRenderer;
use burn_ckpt::plumbing::CHECKPOINT_DIR;
use burn_ckpt::retention::SavedCheckpoint;
use burn_ckpt::{Checkpoint, FromCheckpoint};
use indexmap::IndexMap;

use crate::config::{FailedSaves, TrainerConfig};
use crate::error::Result;
use crate::mirror::MirrorResult;
use crate::process::temporary_root::TemporaryRoot;
use crate::run_speed::RunSpeed;
use crate::state::end_reason::RunOutcome;
use crate::state::run_info::{best_of, last_of};

/// The result of training.
///
/// The [crate's page](crate) has an example.
#[non_exhaustive]
pub struct FitResult<M> {
    /// The trained model, in validation mode: that of the last optimizer step, or with
    /// [`end_with`](crate::TrainerConfig::end_with) `best` that of the best checkpoint.
    pub model: M,
    /// The checkpoint whose parameters `model` has. `None` if they are those of the last optimizer step.
    pub model_checkpoint: Option<PathBuf>,
    /// burn's renderer, for an evaluation that follows. While a terminal dashboard is not dropped, what is
    /// printed goes to its screen and is lost with it.
    pub renderer: Box<dyn MetricsRenderer>,
    /// How the run ended: done, and why if that was before its last epoch, or stopped, and by what.
    pub outcome: RunOutcome,
    /// Whether this call had nothing to train: the run was done before it.
    pub finished_before: bool,
    /// The run's directory.
    pub run_dir: PathBuf,
    /// The run's id.
    pub run_id: String,
    /// Epochs done over the whole run.
    pub epochs: u64,
    /// Optimizer steps done over the whole run.
    pub global_step: u64,
    /// Seconds spent training over the whole run.
    pub training_time_seconds: f64,
    /// Where the time went over the whole run, and items and steps a second. `None` after
    /// [`Trainer::fit_with`](crate::Trainer::fit_with), whose loop is not the trainer's.
    pub speed: Option<RunSpeed>,
    /// The latest value of every metric.
    pub metrics: IndexMap<String, f64>,
    /// The best (or newest) checkpoint of each strategy, by the strategy's name (`best:val_loss`, `last`).
    pub checkpoints: IndexMap<String, SavedCheckpoint>,
    /// The checkpoint that the run resumed from.
    pub resumed_from: Option<PathBuf>,
    /// The Slurm job that was requeued.
    pub requeued: Option<String>,
    /// States that were written.
    pub saves: u64,
    /// How long the longest save of this start took, beside the loop, until the checkpoint was durable.
    /// `experiment.log` has the time of each. `None` where nothing was saved.
    pub longest_save: Option<Duration>,
    /// Saves that were skipped because the queue was full (`when_busy = "skip"`).
    pub skipped_saves: u64,
    /// Waiting saves that newer ones replaced (`when_busy = "replace"`).
    pub replaced_saves: u64,
    /// Optimizer step and cause of every save that failed.
    pub failed_saves: Vec<(u64, burn_ckpt::Error)>,
    /// Whether the newest state that a strategy wanted is not on disk, because its save failed or was
    /// skipped, or a link does not lead to it.
    pub last_save_failed: bool,
    /// Why a link leads to an older checkpoint than it should.
    pub unmoved_link: Option<burn_ckpt::Error>,
    /// What became of the run's mirror. `None` without one.
    pub mirror: Option<MirrorResult>,
    /// The metric by which a checkpoint is the best.
    pub(crate) best_metric: Option<String>,
    /// The directory of a fast dev run, which is removed with this.
    pub(crate) temporary: Option<TemporaryRoot>,
}

/// Without the model.
impl<M> fmt::Debug for FitResult<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FitResult")
            .field("outcome", &self.outcome)
            .field("run_dir", &self.run_dir)
            .field("epochs", &self.epochs)
            .field("global_step", &self.global_step)
            .field("metrics", &self.metrics)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}

impl<M: FromCheckpoint> FitResult<M> {
    /// The model of the best checkpoint, whatever `model` is: that of which the score is. It is the average
    /// where [`Ema`](crate::callbacks::Ema) validates the set of the primary metric;
    /// `M::from_checkpoint(path)` loads the parameters that were trained. Each tensor is verified while it is
    /// loaded.
    ///
    /// ```no_run
    /// # fn run<M: burn_ckpt::FromCheckpoint>(result: burn_trainer::FitResult<M>) -> burn_trainer::Result<()> {
    /// let best = result.best_model(&burn::tensor::Device::default())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) with [`burn_ckpt::Error::NotFound`] if the run has no
    /// best checkpoint, or with the errors of [`burn_ckpt::CheckpointLoader::load`].
    pub fn best_model(&self, device: &Device) -> Result<M> {
        let path = self.best_path()?;
        let mut loader = M::loader(path);
        if let Some(part) = self.part_of_score(&Checkpoint::open(path)?)? {
            loader = loader.part(&part);
        }
        Ok(loader.load(device)?.model)
    }
}

impl<M> FitResult<M> {
    /// The checkpoint with the best score by the primary metric, or where no strategy ranks by that, of the
    /// first strategy that ranks.
    #[must_use]
    pub fn best(&self) -> Option<&SavedCheckpoint> {
        best_of(&self.checkpoints, self.best_metric.as_deref())
    }

    /// The part of the best checkpoint of which its score is. `None` for the model.
    pub(crate) fn part_of_score(&self, best: &Checkpoint) -> burn_ckpt::Result<Option<String>> {
        match &self.best_metric {
            Some(metric) => best.part_of_metric(metric),
            None => best.validated_part(),
        }
    }

    /// The exit status of a program that ends with this result, as `failed_saves` and `failed_mirror` of the
    /// run's configuration say, and by the signal that stopped it. [`cli::print_result`](crate::cli) gives
    /// the same.
    ///
    /// ```no_run
    /// # use std::process::ExitCode;
    /// # use burn_trainer::{FitResult, TrainerConfig};
    /// # fn train<M>(config: TrainerConfig) -> burn_trainer::Result<FitResult<M>> { unimplemented!() }
    /// # fn run<M>(config: TrainerConfig) -> burn_trainer::Result<ExitCode> {
    /// let result: FitResult<M> = train(config.clone())?;
    /// Ok(result.exit_code(&config))
    /// # }
    /// ```
    #[must_use]
    pub fn exit_code(&self, config: &TrainerConfig) -> ExitCode {
        let mirror = config.mirror.as_ref();
        let is_unmirrored = self.mirror.as_ref().is_some_and(|result| result.is_failure(mirror));
        match (self.lost_a_save(config) || is_unmirrored, self.outcome.signal()) {
            (true, _) => ExitCode::FAILURE,
            (false, Some(signal)) => ExitCode::from(signal.exit_status()),
            (false, None) => ExitCode::SUCCESS,
        }
    }

    /// Whether a save failed for which the program fails.
    fn lost_a_save(&self, config: &TrainerConfig) -> bool {
        match config.failed_saves {
            FailedSaves::Ignore => false,
            FailedSaves::FailIfAny => !self.failed_saves.is_empty() || self.last_save_failed,
            FailedSaves::FailIfLast | FailedSaves::Stop => self.last_save_failed,
        }
    }

    /// The path of the best checkpoint.
    ///
    /// # Errors
    ///
    /// [`burn_ckpt::Error::NotFound`] if there is none.
    pub(crate) fn best_path(&self) -> burn_ckpt::Result<&Path> {
        let hint = "the run has no whole one: see that a strategy saves best checkpoints, and that no save of one has failed";
        self.best().map(|best| best.path.as_path()).ok_or_else(|| burn_ckpt::Error::NotFound {
            path: self.run_dir.join(CHECKPOINT_DIR),
            wanted: "best".to_owned(),
            hint: hint.to_owned(),
        })
    }

    /// The newest checkpoint of the first last-strategy, wherever its directory is.
    #[must_use]
    pub fn last(&self) -> Option<&SavedCheckpoint> {
        last_of(&self.checkpoints)
    }
}
