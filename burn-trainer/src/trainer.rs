//! The entry point: opens a run, takes burn's `SupervisedTraining` and `Learner`, and trains.

use std::cell::Cell;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::tensor::Device;
use burn::train::{
    InferenceStep, Learner, LearnerModel, MultiDeviceOptim, SupervisedTraining, TrainStep, TrainingStrategy,
};
use burn_ckpt::plumbing::WriterActivity;
use serde::Serialize;
use serde_json::Value;

use crate::burn_loops::epoch_end_saves::EpochEndSaves;
use crate::config::TrainerConfig;
use crate::dataloader::{
    EpochTracker, EpochTrackingLoader, LoaderSize, ResumableDataLoader, ResumableDataLoaderBuilder,
};
use crate::error::{Error, Result};
use crate::learner_state::{optimizer_probe, restore};
use crate::process::console::{PlainRenderer, warn};
use crate::process::environment_devices::EnvironmentDevices;
use crate::process::start_device::start_device;
use crate::result::FitResult;
use crate::run::choose_strategies::warn_if_nothing_is_saved;
use crate::run::open::OpenRun;
use crate::run::prepare::{LoopParts, RunSetup, prepare};
use crate::strategy::Strategy;
use crate::training_loop::abandonable_loop::{AbandonableLoop, DeviceLossGuard};
use crate::training_loop::fit_loop::{FitLoop, FitPlan};
use crate::training_loop::multi_device::{self, TrainingDevices};
use burn_environment::EnvironmentProbe;

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
    run: OpenRun,
    strategies: Vec<Box<dyn Strategy>>,
    environment: Arc<EnvironmentProbe>,
    /// Whether progress is shown as plain lines, between which warnings can be printed.
    plain: Cell<bool>,
    /// What the writer is doing. Set when saving starts.
    activity: Arc<OnceLock<WriterActivity>>,
    devices: Vec<Device>,
    optim: MultiDeviceOptim,
    /// Count the epochs of the two splits in a loop that is not the trainer's.
    train_tracker: EpochTracker,
    valid_tracker: EpochTracker,
    /// How large the two splits' data is, if the loaders say that before training.
    train_size: Cell<Option<LoaderSize>>,
    valid_size: Cell<Option<LoaderSize>>,
}

impl Trainer {
    /// Opens a run: creates its directory, takes its lock, cleans up after a crash, and verifies the checkpoint to resume
    /// from. `hparams` go into every checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Checkpoint`] for a setting, a name or a directory that cannot be used, a
    /// run that another process holds, or a checkpoint that is not whole; [`Error::RunExists`] when the run has
    /// checkpoints and the configuration does not say what is to become of them.
    pub fn new(mut config: TrainerConfig, hparams: &impl Serialize) -> Result<Self> {
        let hparams = serde_json::to_value(hparams)
            .map_err(|error| Error::config("hparams", format!("they cannot be written as JSON: {error}")))?;
        let run = OpenRun::open(&mut config)?;
        let environment = Arc::new(EnvironmentProbe::start());
        Ok(Self {
            config,
            hparams,
            run,
            strategies: Vec::new(),
            devices: Vec::new(),
            optim: MultiDeviceOptim::OptimMainDevice,
            environment,
            activity: Arc::default(),
            plain: Cell::new(false),
            train_tracker: EpochTracker::default(),
            valid_tracker: EpochTracker::default(),
            train_size: Cell::new(None),
            valid_size: Cell::new(None),
        })
    }

    /// Adds a saving strategy of your own beside those of the configuration.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategies.push(Box::new(strategy));
        self
    }

    /// Trains on these devices, in place of the one that the model is on: in each step a batch on every one of them.
    /// The first has the model and validates. With the feature `remote` they can be devices of other machines: when one of
    /// them is lost, the run ends with [`Error::DeviceLost`].
    ///
    /// An optimizer step then uses as many batches as there are devices (times `grads_accumulation`). With the
    /// [`ResumableDataLoader`](crate::ResumableDataLoader) the devices share the batches of an epoch in their order, so that a
    /// run can resume with another number of devices. burn splits other loaders: each device gets a part of the data set.
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

    /// Starts a device for this run: it computes gradients, and its random numbers begin with the configuration's seed.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] when the device cannot be used.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn run(trainer: burn_trainer::Trainer) -> burn_trainer::Result<()> {
    /// let device = trainer.device(burn::tensor::Device::default())?;
    /// # Ok(()) }
    /// ```
    pub fn device(&self, device: Device) -> Result<Device> {
        start_device(&device)?;
        let device = device.autodiff();
        device.seed(self.config.seed);
        Ok(device)
    }

    /// Begins a data loader whose order can be restored. Its
    /// [`shuffled`](ResumableDataLoaderBuilder::shuffled) uses the configuration's seed.
    pub fn loader<I: 'static, O: Send + 'static>(
        &self,
        batcher: impl Batcher<I, O> + 'static,
    ) -> ResumableDataLoaderBuilder<I, O> {
        ResumableDataLoader::builder(batcher).of_run(self.config.seed)
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        self.run.layout.run_dir()
    }

    /// burn's `SupervisedTraining` for this run: its files go to the run's directory, and progress is shown on
    /// burn's dashboard where standard output is a terminal, as plain lines on standard error elsewhere.
    ///
    /// Register metrics, early stopping and so on, then pass it to [`Trainer::fit`] or [`Trainer::fit_with`].
    #[must_use]
    pub fn training<M: LearnerModel>(
        &self,
        train: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        valid: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    ) -> SupervisedTraining<M> {
        self.train_size.set(self.size_of("training", &*train));
        self.valid_size.set(self.size_of("validation", &*valid));
        let train = EpochTrackingLoader::wrap(train, &self.train_tracker);
        let valid = EpochTrackingLoader::wrap(valid, &self.valid_tracker);
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

    /// The size of a split's data, if its loader says it. Warns of a batch that is larger.
    fn size_of<O>(&self, split: &str, loader: &dyn DataLoader<O>) -> Option<LoaderSize> {
        let size = LoaderSize::of(loader);
        if let Some(warning) = size.and_then(LoaderSize::single_small_batch).filter(|_| self.config.writes())
        {
            warn(&format!("the {split} data {warning}"));
        }
        size
    }

    /// Checks that there is data to train on, and warns if nothing will be saved.
    fn check_start(&self) -> Result<()> {
        if let Some(reason) = self.train_size.get().and_then(LoaderSize::without_batches) {
            return Err(Error::no_batch("training", reason));
        }
        warn_if_nothing_is_saved(&self.config, !self.strategies.is_empty());
        Ok(())
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
    /// be used; [`Error::NoBatch`] for data without a batch, before the first step where the loader is a
    /// [`ResumableDataLoader`]; [`Error::MetricNotLogged`] at the first batch of the split that does not log a metric;
    /// [`Error::SaveFailed`] where the configuration asks for it. A call that fails before the first step removes the
    /// directories that [`Trainer::new`] has created, if they are empty.
    pub fn fit<M: LearnerModel>(
        mut self,
        training: SupervisedTraining<M>,
        learner: Learner<M>,
    ) -> Result<FitResult<M>> {
        if self.devices.is_empty() {
            self.devices = multi_device::of_model(&learner);
        }
        multi_device::check(&self.devices)?;
        self.check_start()?;
        let guard = DeviceLossGuard::new(&self.devices, &self.activity, &self.config)?;
        self.fit_guarded(training, learner, &guard).map_err(|error| guard.with_cause(error))
    }

    fn fit_guarded<M: LearnerModel>(
        mut self,
        training: SupervisedTraining<M>,
        mut learner: Learner<M>,
        guard: &DeviceLossGuard,
    ) -> Result<FitResult<M>> {
        let (devices, optim) = (std::mem::take(&mut self.devices), self.optim);
        let setup = self.into_setup();
        let prepare = move || prepare(setup, &mut learner).map(|prepared| (prepared, learner));
        let ((mut prepared, parts), learner) = guard.run(&training.interrupter(), prepare)??;
        let LoopParts { metric_logger, saves, environment } = parts;
        // Only tells the renderer where the run is: there is no checkpointer of burn's to load from.
        let training = prepared.configure(training, metric_logger);
        let config = &prepared.config;
        let devices = TrainingDevices::new(&devices, optim, config.gradient_checkpointing);
        let plan = FitPlan {
            max_epochs: config.max_epochs as u64,
            seed: config.seed,
            keep_effective_batch: config.keep_effective_batch,
            environment: EnvironmentDevices::new(environment, devices.all().to_vec()),
            devices,
            metrics: prepared.metrics.clone(),
            saves,
            resume: prepared.resume.take(),
            watch: guard.watch().cloned(),
        };
        let fit_loop = Arc::new(FitLoop::new(plan));
        let guarded = AbandonableLoop::new(Arc::clone(&fit_loop), guard.clone());
        let training = training.with_training_strategy(TrainingStrategy::Custom(Arc::new(guarded)));
        prepared.launch(training, learner, |_| fit_loop.take_outcome())
    }

    /// Trains with a loop of burn's ([`ddp`](crate::burn_loops::ddp()), `ExecutionStrategy::multi`, ..) or one of your own, and saves
    /// at the ends of epochs.
    ///
    /// Files, strategies, metadata, links and resuming are those of [`Trainer::fit`], and a run can change from the
    /// one to the other at an epoch's end. What the trainer does not see in somebody else's loop is different:
    ///
    /// - Strategies decide after each epoch's validation, and see
    ///   [`TrainingEvent::ValidationEnd`](crate::strategy::TrainingEvent::ValidationEnd) and [`TrainingEvent::EpochEnd`](crate::strategy::TrainingEvent::EpochEnd) alone.
    ///   When training fails or is stopped, nothing is saved: the last epoch that was saved stands.
    /// - `global_step` counts rounds of batches, in each of which every device takes one. Those are the optimizer's
    ///   steps unless gradients are accumulated: burn does not tell over how many rounds.
    /// - After a resume the data comes in the order of its epoch, if `training` is from [`Trainer::training`]. Early
    ///   stopping starts again, so a run that it has ended continues. Random numbers of the devices (dropout) differ from
    ///   those of a run that was never stopped.
    /// - A metric logger of your own that panics aborts the process after its message was printed: burn's event store panics
    ///   in a destructor. [`Trainer::fit`] reports it.
    /// - A name that no metric has is an error after the first batch. A metric that is not logged is an error after the first
    ///   epoch.
    ///
    /// burn's checkpointers on `training` are replaced. A `SupervisedLearningStrategy` of your own has to call the
    /// checkpointer among its components after an epoch's validation, with burn's number of the epoch and after a
    /// flush of the event processor, as burn's strategies do.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::fit`], and [`Error::MidEpoch`] for a checkpoint from within an epoch, unless `ckpt_path` is
    /// `auto`, which takes the newest one of an epoch's end. [`Error::Config`] also where [`Trainer::devices`] names
    /// devices, as the strategy does that.
    pub fn fit_with<M: LearnerModel>(
        self,
        training: SupervisedTraining<M>,
        learner: Learner<M>,
        strategy: impl Into<TrainingStrategy<M>>,
    ) -> Result<FitResult<M>> {
        if !self.devices.is_empty() {
            let reason = "fit_with trains where its strategy says; leave Trainer::devices out";
            return Err(Error::config("devices", reason));
        }
        self.check_start()?;
        let strategy = strategy.into();
        let devices = multi_device::of_strategy(&strategy, &learner);
        let guard = DeviceLossGuard::new(&devices, &self.activity, &self.config)?;
        self.fit_at_epochs(training, learner, strategy, devices).map_err(|error| guard.with_cause(error))
    }

    fn fit_at_epochs<M: LearnerModel>(
        mut self,
        training: SupervisedTraining<M>,
        mut learner: Learner<M>,
        strategy: TrainingStrategy<M>,
        devices: Vec<Device>,
    ) -> Result<FitResult<M>> {
        self.run.resume_at_an_epoch(&self.config)?;
        let (train_tracker, valid_tracker) = (self.train_tracker.clone(), self.valid_tracker.clone());
        let (prepared, parts) = prepare(self.into_setup(), &mut learner)?;
        let LoopParts { mut metric_logger, saves, environment } = parts;
        let records = match &prepared.resume {
            Some(resume) => {
                let (optimizer, scheduler) = optimizer_probe::optimizer_and_scheduler(&learner)?;
                restore::check_restored(&optimizer, &scheduler, resume)?;
                Some(restore::read_records(resume)?)
            }
            None => None,
        };
        for tracker in [&train_tracker, &valid_tracker] {
            tracker.start_at(prepared.completed());
        }
        let saves =
            EpochEndSaves::new(&prepared, (train_tracker, valid_tracker), training.interrupter(), saves);
        let open = saves.opener();
        let mut environment = EnvironmentDevices::new(environment, devices);
        metric_logger.at_first_update(move || {
            // After the first batch the metrics' names are known, and the devices are in use.
            open();
            environment.report();
        });
        let mut training = saves.register(prepared.configure(training, metric_logger), records);
        if prepared.config.gradient_checkpointing {
            training = training.gradient_checkpointing();
        }
        let training = training.with_training_strategy(strategy);
        prepared.launch(training, learner, |launched| {
            let failed = launched.as_ref().map_or(true, |result| result.error.is_some());
            saves.end(failed)
        })
    }

    fn into_setup(self) -> RunSetup {
        RunSetup {
            config: self.config,
            hparams: self.hparams,
            run: self.run,
            strategies: self.strategies,
            environment: self.environment,
            plain: self.plain.get(),
            activity: self.activity,
            valid_size: self.valid_size.get(),
        }
    }
}
