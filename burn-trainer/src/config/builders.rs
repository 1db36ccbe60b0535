//! A builder method for every field of the configuration.

use std::path::PathBuf;

use burn_ckpt::plumbing::{LockMode, WhenBusy};

use crate::config::batch_limit::BatchLimit;
use crate::config::early_stopping::EarlyStopping;
use crate::config::init_from::InitFrom;
use crate::config::mirror::MirrorConfig;
use crate::config::trainer_config::{ChangedHparams, EndWith, FailedSaves, TrainerConfig};
use crate::config::validate_at_start::ValidateAtStart;
use crate::config::validation::Validation;
use crate::process::progress::progress_mode::ProgressMode;
use crate::strategy::{Best, Interval, Last, MetricConfig, OnException, StrategyConfig};

impl TrainerConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the primary metric, which turns on best, last and on-exception checkpoints: a name, or a
    /// [`MetricConfig`].
    #[must_use]
    pub fn with_primary_metric(mut self, metric: impl Into<MetricConfig>) -> Self {
        self.primary_metric = Some(metric.into());
        self
    }

    /// Adjusts how the best checkpoints are saved. The other two strategies stay as they are.
    #[must_use]
    pub fn with_best(mut self, best: Best) -> Self {
        self.best = Some(best);
        self
    }

    /// Adjusts how the newest checkpoints are saved. The other two strategies stay as they are.
    #[must_use]
    pub fn with_last(mut self, last: Last) -> Self {
        self.last = Some(last);
        self
    }

    /// Adjusts how the state before a failure is saved. The other two strategies stay as they are.
    #[must_use]
    pub fn with_on_exception(mut self, on_exception: OnException) -> Self {
        self.on_exception = Some(on_exception);
        self
    }

    /// Replaces all three strategies. An empty list saves nothing.
    #[must_use]
    pub fn with_strategies(mut self, strategies: impl IntoIterator<Item = StrategyConfig>) -> Self {
        self.strategies = Some(strategies.into_iter().collect());
        self
    }

    /// Sets the metric, and the patience, by which the run ends early.
    #[must_use]
    pub fn with_early_stopping(mut self, early_stopping: EarlyStopping) -> Self {
        self.early_stopping = Some(early_stopping);
        self
    }

    /// Sets the number of optimizer steps at which the run ends.
    #[must_use]
    pub fn with_max_steps(mut self, steps: u64) -> Self {
        self.max_steps = Some(steps);
        self
    }

    /// Sets the training time after which the run ends.
    #[must_use]
    pub fn with_max_time(mut self, time: impl Into<Interval>) -> Self {
        self.max_time = Some(time.into());
        self
    }

    /// Sets how many training batches of each epoch are used: a number (`10`), or a part (`0.25`).
    #[must_use]
    pub fn with_limit_train_batches(mut self, limit: impl Into<BatchLimit>) -> Self {
        self.limit_train_batches = Some(limit.into());
        self
    }

    /// Sets how many batches of each validation are used: a number (`10`), or a part (`0.25`).
    #[must_use]
    pub fn with_limit_valid_batches(mut self, limit: impl Into<BatchLimit>) -> Self {
        self.limit_valid_batches = Some(limit.into());
        self
    }

    /// Trains on the same few batches in each epoch: a number of them (`10`), or a part (`0.01`).
    #[must_use]
    pub fn with_overfit_batches(mut self, limit: impl Into<BatchLimit>) -> Self {
        self.overfit_batches = Some(limit.into());
        self
    }

    /// Sets whether this is only a trial with one batch of everything, which leaves nothing.
    #[must_use]
    pub fn with_fast_dev_run(mut self, fast_dev_run: bool) -> Self {
        self.fast_dev_run = fast_dev_run;
        self
    }

    /// Sets the run's id, which names its directory.
    #[must_use]
    pub fn with_run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Sets a human's name for the run, for the metadata.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the project that the run belongs to, for the metadata.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Sets the words by which the run is found again.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what the run is for, in a human's words.
    #[must_use]
    pub fn with_notes(mut self, notes: impl Into<String>) -> Self {
        self.notes = Some(notes.into());
        self
    }

    /// Sets the trackers that get what the run logs, by their names.
    #[must_use]
    pub fn with_trackers(mut self, trackers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trackers = trackers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long the end of the run waits, in seconds, until a tracker has sent everything.
    #[must_use]
    pub fn with_trackers_wait_seconds(mut self, seconds: f64) -> Self {
        self.trackers_wait_seconds = seconds;
        self
    }

    /// Sets where the run's checkpoints are mirrored: an address (`s3://bucket/prefix`), or a
    /// [`MirrorConfig`].
    #[must_use]
    pub fn with_mirror(mut self, mirror: impl Into<MirrorConfig>) -> Self {
        self.mirror = Some(mirror.into());
        self
    }

    /// Sets the directory that holds the logs directory.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Sets the name of the directory that holds the runs.
    #[must_use]
    pub fn with_logs(mut self, logs: impl Into<String>) -> Self {
        self.logs = logs.into();
        self
    }

    /// Sets what to resume: `last`, `best`, `auto`, `none`, or a path.
    #[must_use]
    pub fn with_ckpt_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.ckpt_path = Some(path.into().to_string_lossy().into_owned());
        self
    }

    /// Sets the checkpoint whose weights a new run begins with: a path, or an [`InitFrom`].
    #[must_use]
    pub fn with_init_from(mut self, init_from: impl Into<InitFrom>) -> Self {
        self.init_from = Some(init_from.into());
        self
    }

    /// Sets the size in bytes above which a checkpoint is saved in several files.
    #[must_use]
    pub fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = Some(bytes);
        self
    }

    /// Sets the rank of this process among those that train one model together. Only rank 0 writes.
    #[must_use]
    pub fn with_rank(mut self, rank: u64) -> Self {
        self.rank = Some(rank);
        self
    }
}

/// Builder methods that only put a value into the field of their name.
macro_rules! plain {
    ($($(#[$doc:meta])* $with:ident, $field:ident: $type:ty;)*) => {
        impl TrainerConfig {
            $($(#[$doc])*
            #[must_use]
            pub fn $with(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })*
        }
    };
}

plain! {
    /// Sets the number of epochs of the whole run, those before a resume included.
    with_max_epochs, max_epochs: usize;
    /// Sets the number of epochs before which neither early stopping nor a callback ends the run.
    with_min_epochs, min_epochs: usize;
    /// Sets the number of optimizer steps before which neither early stopping nor a callback ends the run.
    with_min_steps, min_steps: u64;
    /// Sets when the run validates.
    with_validation, validation: Validation;
    /// Sets whether a new run validates before its first step.
    with_validate_at_start, validate_at_start: ValidateAtStart;
    /// Turns all saving on or off.
    with_checkpoint_saving, checkpoint_saving: bool;
    /// Sets whether burn's metric files are written.
    with_metric_files, metric_files: bool;
    /// Sets whether a page about the run is written while it trains.
    with_report, report: bool;
    /// Sets the seed of every random number that the loop draws.
    with_seed, seed: u64;
    /// Sets whether the checkpoints of an earlier run of the same id are removed.
    with_overwrite, overwrite: bool;
    /// Sets whether the run is locked while it is written.
    with_lock, lock: LockMode;
    /// Sets whether signals save and stop.
    with_handle_signals, handle_signals: bool;
    /// Sets what it means when a run resumes with other hyperparameters.
    with_changed_hparams, changed_hparams: ChangedHparams;
    /// Sets whether a Slurm job that runs out of time is requeued after its save.
    with_slurm_requeue, slurm_requeue: bool;
    /// Sets what happens when the queue of saves is full.
    with_when_busy, when_busy: WhenBusy;
    /// Sets how many snapshots may wait while another is being written.
    with_max_waiting_saves, max_waiting_saves: usize;
    /// Sets what a failed save means for the run.
    with_failed_saves, failed_saves: FailedSaves;
    /// Sets which model training returns.
    with_end_with, end_with: EndWith;
    /// Sets how long a device of another machine may take to answer, in seconds.
    with_device_timeout_seconds, device_timeout_seconds: f64;
    /// Sets how often a program restarts itself after a device was lost.
    with_restarts, restarts: u32;
    /// Sets whether an optimizer step uses as many batches as before, on another number of devices.
    with_keep_effective_batch, keep_effective_batch: bool;
    /// Sets how progress is shown.
    with_progress, progress: ProgressMode;
    /// Sets how deep the table of the model's modules goes that a start prints.
    with_model_summary_depth, model_summary_depth: usize;
    /// Sets whether activations are computed again in the backward pass instead of kept.
    with_gradient_checkpointing, gradient_checkpointing: bool;
}
