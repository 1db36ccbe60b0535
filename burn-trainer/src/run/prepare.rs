//! What every way of training has in common, before burn's `SupervisedTraining` is launched and after: the state that
//! is gone on from, the metrics, the saver that opens once their names are known, signals, and the result.
//!
//! `Trainer::fit` puts the loop of `fit.rs` in between, `Trainer::fit_with` burn's or the user's with `epoch_saves.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::train::{Learner, LearnerModel, LearningResult, SupervisedTraining};
use burn_ckpt::plumbing::{RunDescription, panic_message};
use burn_environment::EnvironmentProbe;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::metrics::{RunMetricLogger, SharedHistory, SharedMetrics};
use crate::process::launcher::requeue_after;
use crate::process::signals::SignalWatch;
use crate::result::FitResult;
use crate::run::choose_strategies::{Chosen, chosen_strategies};
use crate::run::existing_checkpoints::ExistingCheckpoints;
use crate::run::open::Run;
use crate::run::resume::{self, Resume};
use crate::saving::saver::{Reporting, Saver};
use crate::trainer::Trainer;
use crate::training_loop::loop_state::{OpenSaver, Outcome, burn_epoch};

/// A run that can be launched.
pub(crate) struct Prepared {
    pub(crate) config: TrainerConfig,
    pub(crate) metrics: SharedMetrics,
    pub(crate) history: SharedHistory,
    /// What the learner's state is from.
    pub(crate) resume: Option<Resume>,
    pub(crate) exception_timeout: Duration,
    run: Run,
    resumed_from: Option<PathBuf>,
    /// Whether this process saves, or leaves that to the one of rank 0.
    writes: bool,
    plain: bool,
}

/// The parts of a run that burn's loop and the loggers take with them.
pub(crate) struct Parts {
    pub(crate) tap: RunMetricLogger,
    pub(crate) open_saver: OpenSaver,
    /// To be told the devices once they are in use, where checkpoints are written.
    pub(crate) environment: Option<Arc<EnvironmentProbe>>,
}

/// What [`SupervisedTraining::launch`] came to, a panic included.
pub(crate) type Launched<M> = std::thread::Result<LearningResult<M>>;

impl Trainer {
    /// Puts the state that is gone on from into the learner, the metrics and the history.
    pub(crate) fn prepare<M: LearnerModel>(self, learner: &mut Learner<M>) -> Result<(Prepared, Parts)> {
        let Self { mut config, hparams, mut run, strategies: custom, environment, plain, activity, .. } =
            self;
        // What the processes of other ranks would save is what the one of rank 0 saves.
        let writes = config.writes();
        config.checkpoint_saving &= writes;
        let saves = config.checkpoint_saving;
        if learner.model().devices().first().is_some_and(|device| !device.is_autodiff()) {
            // burn would panic in the first backward pass.
            let reason = "it computes no gradients: make the model on device.autodiff()";
            return Err(Error::config("the model's device", reason));
        }
        let (metrics, history) = (SharedMetrics::default(), SharedHistory::default());
        let mut tap = RunMetricLogger::new(metrics.clone(), history.clone());
        if writes {
            tap = tap.with_files(run.layout.run_dir());
        }
        let mut before = ExistingCheckpoints::default();
        let resume = run.resume.take();
        if let Some(resume) = &resume {
            resume::restore(learner, resume)?;
            resume::warn_of_changes(&config, resume);
            metrics.lock().restore(resume.state.metrics.clone());
            let position = resume.state.position.next();
            history.restore(resume.history.clone(), burn_epoch(position.epoch), position.logged());
            // With another run's checkpoint, a directory is opened only where there are none of its own.
            tap = tap.resumed_in(burn_epoch(position.epoch), !run.present.is_empty());
            if writes {
                before =
                    ExistingCheckpoints::look(&config, &run.layout, &run.present, resume, custom.is_empty());
            }
        }
        let trainer_config = serde_json::to_value(config.spelled_out())
            .map_err(|error| Error::config("the trainer's configuration", error.to_string()))?;
        let writers = Arc::clone(&environment);
        let facts = RunDescription {
            run_id: run.layout.run_id().to_owned(),
            name: config.name.clone(),
            project: config.project.clone(),
            start_timestamp: run.start,
            trainer_config,
            hparams,
            environment: Box::new(move || serde_json::to_value(writers.get()).unwrap_or_default()),
        };
        let open_saver: OpenSaver = {
            let (config, layout) = (config.clone(), run.layout.clone());
            let reporting = Reporting {
                when_busy: config.when_busy,
                max_waiting: config.max_waiting_saves,
                announce: plain.get(),
            };
            Box::new(move |metrics| {
                let table = metrics.lock();
                let Chosen { strategies, watched } = chosen_strategies(&config, custom, &table)?;
                let names = table.names();
                drop(table);
                let saver = Saver::open(strategies, &names, &layout, before, facts, reporting)?;
                // It is set once, as the saver is opened once.
                let _ = activity.set(saver.activity());
                Ok((saver, watched))
            })
        };
        let resumed_from = resume.as_ref().map(|resume| resume.checkpoint.path().to_path_buf());
        let exception_timeout = config.exception_timeout();
        let plain = plain.get();
        let prepared = Prepared {
            config,
            metrics,
            history,
            resume,
            exception_timeout,
            run,
            resumed_from,
            writes,
            plain,
        };
        let environment = saves.then_some(environment);
        Ok((prepared, Parts { tap, open_saver, environment }))
    }
}

impl Prepared {
    /// Epochs that are done.
    pub(crate) fn completed(&self) -> u64 {
        self.resume.as_ref().map_or(0, |resume| resume.state.position.next().epoch)
    }

    /// Sets what is always the trainer's: burn's metric files, the number of epochs, and which of them is the first.
    pub(crate) fn set_up<M: LearnerModel>(
        &self,
        training: SupervisedTraining<M>,
        tap: RunMetricLogger,
    ) -> SupervisedTraining<M> {
        let training = training.with_metric_logger(tap).num_epochs(self.config.max_epochs);
        match usize::try_from(self.completed()).unwrap_or(usize::MAX) {
            0 => training,
            completed => training.checkpoint(completed),
        }
    }

    /// Trains. `end` closes the saver, knowing what burn's loop came to.
    pub(crate) fn launch<M: LearnerModel>(
        mut self,
        training: SupervisedTraining<M>,
        learner: Learner<M>,
        end: impl FnOnce(&Launched<M>) -> Outcome,
    ) -> Result<FitResult<M>> {
        let signals = match self.config.handle_signals {
            true => SignalWatch::start(training.interrupter(), self.plain),
            false => SignalWatch::off(),
        };
        // burn's own threads hand their panics on to the loop's, also after the loop has ended.
        let launched = catch_unwind(AssertUnwindSafe(|| training.launch(learner)));
        let outcome = end(&launched);
        if outcome.saves.unfinished {
            // The writer still writes, so the run stays this process's.
            self.run.keep_lock();
        }
        if let Some(error) = outcome.error {
            return Err(error);
        }
        let LearningResult { model, renderer, interrupted, error } =
            launched.map_err(|panic| Error::Panicked { message: panic_message(&*panic), saved: None })?;
        if let Some(source) = error {
            return Err(Error::Training { source, saved: None });
        }
        // A stop that came when all was done has stopped nothing.
        let interrupted = interrupted.filter(|_| outcome.epochs < self.config.max_epochs as u64);
        let stopped_by = interrupted.as_ref().and_then(|_| signals.received());
        let requeues = self.writes && self.config.slurm_requeue;
        let requeued = stopped_by.filter(|_| requeues).and_then(requeue_after);
        // Not before: at a time limit Slurm sends SIGTERM soon after its warning.
        drop(signals);
        let metrics = self.metrics.lock().values().clone();
        let reports = outcome.saves.reports;
        Ok(FitResult {
            model,
            renderer,
            run_dir: self.run.layout.run_dir().to_path_buf(),
            run_id: self.run.layout.run_id().to_owned(),
            epochs: outcome.epochs,
            global_step: outcome.steps,
            training_time_seconds: outcome.seconds,
            metrics,
            checkpoints: outcome.foremost,
            resumed_from: self.resumed_from,
            finished_before: outcome.finished_before,
            stopped_early: outcome.stopped_early,
            stopped_by,
            requeued,
            interrupted: interrupted.map(|stop| stop.reason.unwrap_or_else(|| "no reason given".to_owned())),
            saves: reports.iter().filter(|report| report.outcome.is_ok()).count() as u64,
            skipped_saves: outcome.saves.skipped,
            replaced_saves: outcome.saves.replaced,
            failed_saves: reports
                .into_iter()
                .filter_map(|report| report.outcome.err().map(|error| (report.global_step, error)))
                .collect(),
            last_save_failed: !outcome.saves.newest_is_durable,
        })
    }
}
