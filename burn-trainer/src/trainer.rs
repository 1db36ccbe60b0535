//! The entry point: opens a run, takes burn's `SupervisedTraining` and `Learner`, and trains.

use std::cell::Cell;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn::train::renderer::MetricsRenderer;
use burn::train::{
    InferenceStep, Learner, LearnerModel, LearningResult, MultiDeviceOptim, SupervisedTraining, TrainStep,
    TrainingStrategy,
};
use burn_ckpt::{Held, RunFacts, panic_message};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::config::TrainerConfig;
use crate::environment::EnvironmentProbe;
use crate::error::{Error, Result};
use crate::fit::{FitLoop, Plan};
use crate::launch;
use crate::metrics::{MetricTable, MetricTap, SharedHistory, SharedMetrics};
use crate::progress::{PlainRenderer, say};
use crate::resume;
use crate::run::Run;
use crate::saving::{Reporting, Saver};
use crate::session::burn_epoch;
use crate::signal::{SignalWatch, StopSignal};
use crate::strategy::{
    BestStrategy, DEFAULT_TIMEOUT_SECONDS, LastStrategy, OnExceptionStrategy, Strategy, StrategyConfig,
};

/// A run that is open: its directory is this process's alone until training ends.
///
/// ```no_run
/// # use burn::data::dataloader::DataLoader;
/// # use burn::train::{Learner, LearnerModel, TrainStep, InferenceStep};
/// # use burn::train::metric::{Adaptor, LossInput, LossMetric};
/// # use burn_trainer::{Trainer, TrainerConfig};
/// # use std::sync::Arc;
/// # fn train<M: LearnerModel>(
/// #     hparams: &u32,
/// #     train_loader: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
/// #     valid_loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
/// #     learner: Learner<M>,
/// # ) -> burn_trainer::Result<()>
/// # where <M as TrainStep>::Output: Adaptor<LossInput>, <M as InferenceStep>::Output: Adaptor<LossInput> {
/// let config = TrainerConfig::new().with_primary_metric("val_loss").with_max_epochs(10);
/// let trainer = Trainer::new(config, hparams)?;
/// let training = trainer.training(train_loader, valid_loader).metrics((LossMetric::new(),));
/// let result = trainer.fit(training, learner)?;
/// println!("the best checkpoint is {:?}", result.best().map(|best| &best.path));
/// # Ok(()) }
/// ```
pub struct Trainer {
    config: TrainerConfig,
    hparams: Value,
    run: Run,
    strategies: Vec<Box<dyn Strategy>>,
    devices: Vec<Device>,
    optim: MultiDeviceOptim,
    environment: EnvironmentProbe,
    /// Whether progress is shown as plain lines, among which there is room for a warning.
    plain: Cell<bool>,
}

/// What training came to.
pub struct FitResult<M> {
    /// The trained model, in validation mode.
    pub model: M,
    /// burn's renderer, for an evaluation that follows. While a terminal dashboard is not dropped, what is printed
    /// goes to its screen and is lost with it.
    pub renderer: Box<dyn MetricsRenderer>,
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
    /// The latest value of every metric.
    pub metrics: IndexMap<String, f64>,
    /// The foremost checkpoint of each strategy, by the strategy's name (`best:val_loss`, `last`).
    pub checkpoints: IndexMap<String, Held>,
    /// The checkpoint that the run went on from.
    pub resumed_from: Option<PathBuf>,
    /// Whether there was nothing to do: the checkpoint had all the epochs already, or early stopping had ended the run.
    pub finished_before: bool,
    /// Why training stopped before its last epoch, if somebody asked for that.
    pub interrupted: Option<String>,
    /// The signal that asked for it.
    pub stopped_by: Option<StopSignal>,
    /// The Slurm job that is to start again.
    pub requeued: Option<String>,
    /// States that were written.
    pub saves: u64,
    /// Saves that were let go because the disk was behind (`when_busy = "skip"`).
    pub skipped_saves: u64,
    /// Optimizer step and cause of every save that failed.
    pub failed_saves: Vec<(u64, burn_ckpt::Error)>,
    /// Whether the newest state that a strategy wanted is not on disk, because its save failed or was let go.
    pub last_save_failed: bool,
}

impl<M> FitResult<M> {
    /// The checkpoint with the best score of the first best-strategy.
    #[must_use]
    pub fn best(&self) -> Option<&Held> {
        self.checkpoints.iter().find(|(name, _)| name.starts_with("best:")).map(|(_, held)| held)
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn last(&self) -> Option<&Held> {
        self.checkpoints.get("last")
    }
}

impl Trainer {
    /// Opens a run: makes its directory, takes its lock, tidies up what a crash left, and verifies the
    /// checkpoint that is to be resumed. `hparams` go into every checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Checkpoint`] for a setting, a name or a directory that cannot be used, a
    /// run that another process holds, or a checkpoint that is not whole; [`Error::RunExists`] when the run has
    /// checkpoints and the configuration does not say what is to become of them.
    pub fn new(mut config: TrainerConfig, hparams: &impl Serialize) -> Result<Self> {
        let hparams = serde_json::to_value(hparams)
            .map_err(|error| Error::config("hparams", format!("they are no JSON: {error}")))?;
        let run = Run::open(&mut config)?;
        let environment = EnvironmentProbe::start();
        Ok(Self {
            config,
            hparams,
            run,
            strategies: Vec::new(),
            devices: Vec::new(),
            optim: MultiDeviceOptim::OptimMainDevice,
            environment,
            plain: Cell::new(false),
        })
    }

    /// Adds a saving strategy of your own beside those of the configuration.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategies.push(Box::new(strategy));
        self
    }

    /// Trains on these devices, in place of the one that the model is on: in each step a batch on every one of them.
    /// The first has the model and validates.
    ///
    /// An optimizer step then uses as many batches as there are devices (times `grads_accumulation`). With the
    /// [`ResumableDataLoader`](crate::ResumableDataLoader) the batches of an epoch are dealt out in their order, so that
    /// a run can go on with another number of devices; other loaders are split by burn, a part of the data set each.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = devices.into_iter().collect();
        self
    }

    /// Where the optimizer works with several devices: on the first one, as by default, or on all of them, each with a
    /// part of the parameters.
    #[must_use]
    pub fn optimizer_placement(mut self, optim: MultiDeviceOptim) -> Self {
        self.optim = optim;
        self
    }

    /// The configuration, with the run id filled in.
    #[must_use]
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        self.run.layout.run_dir()
    }

    /// burn's `SupervisedTraining` for this run: its files go to the run's directory, and progress is shown on
    /// burn's dashboard where standard output is a terminal, as plain lines on standard error elsewhere.
    ///
    /// Register metrics, early stopping and so on, then pass it to [`Trainer::fit`].
    #[must_use]
    pub fn training<M: LearnerModel>(
        &self,
        train: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        valid: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    ) -> SupervisedTraining<M> {
        let training = SupervisedTraining::new(self.run_dir(), train, valid);
        if !self.config.writes() {
            // The process of rank 0 writes burn's log, and shows how far training is.
            return training.with_application_logger(None).renderer(Box::new(PlainRenderer::hidden()));
        }
        if cfg!(feature = "tui") && std::io::stdout().is_terminal() {
            training
        } else {
            self.plain.set(true);
            let position = self.run.resume.as_ref().map(|resume| resume.state.position.next());
            let batches =
                position.filter(|position| !position.trained).map_or(0, |position| position.batches);
            training.renderer(Box::new(PlainRenderer::resumed(batches)))
        }
    }

    /// Trains.
    ///
    /// The number of epochs, the training strategy and burn's metric files in the run's directory are the
    /// trainer's; everything else that was set on `training` stays. burn's own checkpointers have no part in it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a model whose device computes no gradients (`device.autodiff()` gives one that
    /// does); [`Error::Panicked`] and [`Error::Training`] with what stopped training and where the state before it
    /// was saved; [`Error::UnknownMetric`] or [`Error::Checkpoint`] before the first step for names that cannot
    /// be used; [`Error::SaveFailed`] where the configuration asks for it.
    pub fn fit<M: LearnerModel>(
        self,
        training: SupervisedTraining<M>,
        mut learner: Learner<M>,
    ) -> Result<FitResult<M>> {
        let Self { mut config, hparams, mut run, strategies: custom, devices, optim, environment, plain } =
            self;
        // What the processes of other ranks would save is what the one of rank 0 saves.
        let writes = config.writes();
        config.checkpoint_saving &= writes;
        if learner.model().devices().first().is_some_and(|device| !device.is_autodiff()) {
            // burn would panic in the first backward pass.
            let reason = "it computes no gradients: make the model on device.autodiff()";
            return Err(Error::config("the model's device", reason));
        }
        let (metrics, history) = (SharedMetrics::default(), SharedHistory::default());
        let mut tap = MetricTap::new(metrics.clone(), history.clone());
        if writes {
            tap = tap.with_files(run.layout.run_dir());
        }
        let mut held = IndexMap::new();
        let mut completed = 0;
        if let Some(resume) = &run.resume {
            resume::restore(&mut learner, resume)?;
            resume::warn_of_changes(&config, resume);
            metrics.lock().restore(resume.state.metrics.clone());
            let position = resume.state.position.next();
            history.restore(resume.history.clone(), burn_epoch(position.epoch), position.logged());
            tap = tap.resumed_in(burn_epoch(position.epoch));
            held = resume::held(&run.layout, &run.present);
            completed = usize::try_from(position.epoch).unwrap_or(usize::MAX);
        }
        let resumed_from = run.resume.as_ref().map(|resume| resume.checkpoint.path().to_path_buf());
        let trainer_config = serde_json::to_value(&config)
            .map_err(|error| Error::config("the trainer's configuration", error.to_string()))?;
        let facts = RunFacts {
            run_id: run.layout.run_id().to_owned(),
            name: config.name.clone(),
            project: config.project.clone(),
            start_timestamp: run.start,
            trainer_config,
            hparams,
            environment: Box::new(move || serde_json::to_value(environment.get()).unwrap_or_default()),
        };
        let layout = run.layout.clone();
        let reporting = Reporting { when_busy: config.when_busy, announce: plain.get() };
        let exception_timeout = exception_timeout(&config);
        let plan = Plan {
            max_epochs: config.max_epochs as u64,
            seed: config.seed,
            devices,
            optim,
            gradient_checkpointing: config.gradient_checkpointing,
            failed_saves: config.failed_saves,
            exception_timeout,
            metrics: metrics.clone(),
            history,
            resume: run.resume.take(),
            open_saver: {
                let config = config.clone();
                Box::new(move |metrics| {
                    let table = metrics.lock();
                    let Chosen { strategies, watched } = chosen_strategies(&config, custom, &table)?;
                    let names = table.names();
                    drop(table);
                    let saver = Saver::open(strategies, &names, &layout, held, facts, reporting)?;
                    Ok((saver, watched))
                })
            },
        };
        let fit_loop = Arc::new(FitLoop::new(plan));
        let mut training = training
            .with_metric_logger(tap)
            .num_epochs(config.max_epochs)
            .with_training_strategy(TrainingStrategy::Custom(fit_loop.clone()));
        if completed > 0 {
            // Only tells the renderer where the run is: there is no checkpointer of burn's to load from.
            training = training.checkpoint(completed);
        }
        let signals = match config.handle_signals {
            true => SignalWatch::start(training.interrupter(), plain.get()),
            false => SignalWatch::off(),
        };
        // burn's own threads hand their panics on to the loop's, also after the loop has ended.
        let launched = catch_unwind(AssertUnwindSafe(|| training.launch(learner)));
        let outcome = fit_loop.take_outcome();
        if outcome.saves.unfinished {
            // The writer still writes, so the run stays this process's.
            run.keep_lock();
        }
        if let Some(error) = outcome.error {
            return Err(error);
        }
        let LearningResult { model, renderer, interrupted, error } =
            launched.map_err(|panic| Error::Panicked { message: panic_message(&*panic), saved: None })?;
        if let Some(source) = error {
            return Err(Error::Training { source, saved: None });
        }
        let stopped_by = interrupted.as_ref().and_then(|_| signals.received());
        drop(signals);
        let requeued = stopped_by.filter(|_| writes && config.slurm_requeue).and_then(requeue);
        let metrics = metrics.lock().values().clone();
        let reports = outcome.saves.reports;
        let last_save_failed = !outcome.saves.newest_is_durable;
        let saves = reports.iter().filter(|report| report.outcome.is_ok()).count() as u64;
        Ok(FitResult {
            model,
            renderer,
            run_dir: run.layout.run_dir().to_path_buf(),
            run_id: run.layout.run_id().to_owned(),
            epochs: outcome.epochs,
            global_step: outcome.steps,
            training_time_seconds: outcome.seconds,
            metrics,
            checkpoints: outcome.foremost,
            resumed_from,
            finished_before: outcome.finished_before,
            stopped_by,
            requeued,
            interrupted: interrupted.map(|stop| stop.reason.unwrap_or_else(|| "no reason given".to_owned())),
            saves,
            skipped_saves: outcome.saves.skipped,
            failed_saves: reports
                .into_iter()
                .filter_map(|report| report.outcome.err().map(|error| (report.global_step, error)))
                .collect(),
            last_save_failed,
        })
    }
}

/// Has Slurm start the job again, if the signal was its warning.
fn requeue(signal: StopSignal) -> Option<String> {
    let job = launch::slurm_job().filter(|_| signal.is_warning())?;
    match launch::requeue(&job) {
        Ok(()) => Some(job),
        Err(error) => {
            let message = format!("the Slurm job {job} is not requeued: scontrol: {error}");
            log::error!("{message}");
            say(&format!("warning: {message}"));
            None
        }
    }
}

/// The strategies of a run, and the metrics that have to show up.
struct Chosen {
    strategies: Vec<Box<dyn Strategy>>,
    watched: Vec<String>,
}

/// The strategies of the configuration, with their metrics looked up, and the user's own.
fn chosen_strategies(
    config: &TrainerConfig,
    custom: Vec<Box<dyn Strategy>>,
    metrics: &MetricTable,
) -> Result<Chosen> {
    let find = |setting: &str, name: &str| {
        metrics.find(name).ok_or_else(|| Error::UnknownMetric {
            setting: setting.to_owned(),
            name: name.to_owned(),
            known: metrics.names(),
        })
    };
    let mut strategies: Vec<Box<dyn Strategy>> = Vec::new();
    let mut watched = Vec::new();
    if let Some(primary) = &config.primary_metric {
        watched.push(find("primary_metric", primary)?.0);
    }
    for (position, strategy) in config.effective_strategies().into_iter().enumerate() {
        match strategy {
            StrategyConfig::Best(best) => {
                let setting = format!("strategies.{position}.metric");
                let (setting, metric) = match (&best.metric, &config.primary_metric) {
                    (Some(metric), _) => (setting.as_str(), metric.clone()),
                    (None, Some(metric)) => ("primary_metric", metric.clone()),
                    (None, None) => {
                        return Err(Error::config(setting, "neither it nor primary_metric is set"));
                    }
                };
                let (metric, stated) = find(setting, &metric)?;
                let Some(mode) = best.mode.or(stated) else {
                    let reason = format!(
                        "{metric} does not say whether higher or lower is better; set \"min\" or \"max\""
                    );
                    return Err(Error::config(format!("strategies.{position}.mode"), reason));
                };
                watched.push(metric.clone());
                strategies.push(Box::new(BestStrategy::new(best, metric, mode)));
            }
            StrategyConfig::Last(last) => strategies.push(Box::new(LastStrategy::new(last))),
            StrategyConfig::OnException(config) => {
                strategies.push(Box::new(OnExceptionStrategy::new(config)))
            }
        }
    }
    if config.checkpoint_saving {
        strategies.extend(custom);
    }
    Ok(Chosen { strategies, watched })
}

/// The longest that an exception's save may take by any of the strategies.
fn exception_timeout(config: &TrainerConfig) -> Duration {
    let seconds = config.effective_strategies().into_iter().filter_map(|strategy| match strategy {
        StrategyConfig::OnException(config) => Some(config.timeout_seconds),
        _ => None,
    });
    // Also without such a strategy: what was handed over before the failure is still to be written.
    let seconds = seconds.reduce(f64::max).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
