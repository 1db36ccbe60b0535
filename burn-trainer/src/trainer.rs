//! The entry point: opens a run, takes burn's `SupervisedTraining` and `Learner`, and trains.

mod fast_dev_run;
mod find;
mod fit;
mod other_loop;
mod report_page;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::tensor::Device;
use burn::train::{InferenceStep, LearnerModel, MultiDeviceOptim, SupervisedTraining, TrainStep};
use burn_ckpt::plumbing::{Limits, check_kept_json, hparams_to_json};
use serde::Serialize;

use crate::callbacks::Callback;
use crate::callbacks::registered::Callbacks;
use crate::config::TrainerConfig;
use crate::dataloader::{LoaderSize, NamedLoader, ResumableDataLoader, ResumableDataLoaderBuilder};
use crate::error::{Error, Result};
use crate::learner_state::recomputation::training_device;
use crate::metrics::LoggerSlot;
use crate::process::console::PlainRenderer;
use crate::process::panic_strategy::warn_if_aborting;
use crate::process::progress::display::ProgressDisplay;
use crate::process::start_device::start_device;
use crate::process::temporary_root::TemporaryRoot;
use crate::run::open::OpenRun;
use crate::run::prepare::{RunSetup, SaverSetup};
use crate::run_files::experiment_log::ExperimentLog;
use crate::run_files::file_size_limit;
use crate::state::position::StepChange;
use crate::state::speed_meter::SpeedMeter;
use crate::state::training_data::TrainingData;
use crate::stopping::stop_control::StopControl;
use crate::strategy::Strategy;
use crate::trackers::{Tracker, TrackerCallback, wait_at_end};
use crate::training_loop::parts::multi_device::DeviceSettings;
use burn_environment::EnvironmentProbe;

/// Trains a model: opens a run, resumes or starts it, and saves its checkpoints. From [`Trainer::new`] to the
/// end of training no other process can write to the run's directory.
///
/// ```no_run
/// # use burn::data::dataloader::DataLoader;
/// # use burn::train::{Learner, LearnerModel, TrainStep, InferenceStep};
/// # use burn::train::metric::Adaptor;
/// # use burn_trainer::metric::{MeanLoss, MeanLossInput};
/// # use burn_trainer::{Trainer, TrainerConfig};
/// # use std::sync::Arc;
/// # fn train<M: LearnerModel>(
/// #     hparams: &u32,
/// #     train_loader: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
/// #     valid_loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
/// #     learner: Learner<M>,
/// # ) -> burn_trainer::Result<()>
/// # where <M as TrainStep>::Output: Adaptor<MeanLossInput>, <M as InferenceStep>::Output: Adaptor<MeanLossInput> {
/// let config = TrainerConfig::new().with_primary_metric("val_loss").with_max_epochs(10);
/// let trainer = Trainer::new(config, hparams)?;
/// let training = trainer.training(train_loader, valid_loader).metrics((MeanLoss::new(),));
/// let result = trainer.fit(training, learner)?;
/// println!("the best checkpoint is {:?}", result.best().map(|best| &best.path));
/// # Ok(()) }
/// ```
pub struct Trainer<M: LearnerModel> {
    setup: RunSetup,
    /// The validation sets beside that of `training`.
    validation_sets: Vec<NamedLoader<<M as InferenceStep>::Input>>,
    callbacks: Callbacks<M>,
    devices: DeviceSettings,
    stop: StopControl,
    /// The place of the run's metric logger among burn's.
    logger_slot: LoggerSlot,
    /// How fast the loop is, for those who show it.
    speed: SpeedMeter,
    /// Of a fast dev run. Removed after the run is closed.
    temporary: Option<TemporaryRoot>,
}

/// Without the data and the callbacks.
impl<M: LearnerModel> fmt::Debug for Trainer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer").field("run_dir", &self.run_dir()).finish_non_exhaustive()
    }
}

impl<M: LearnerModel> Trainer<M> {
    /// Opens a run: creates its directory, takes its lock, cleans up after a crash, and verifies the
    /// checkpoint to resume from. `hparams` go into every checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Checkpoint`] for a setting, a name or a directory that cannot be used, a
    /// run that another process holds, or a checkpoint that is not complete; [`Error::RunExists`] when the
    /// run has checkpoints and the configuration does not say what is to become of them;
    /// [`Error::NothingToResume`] and [`Error::Unusable`] when none of them can be resumed;
    /// [`Error::MirrorUnreadable`] and [`Error::MirrorNotDownloaded`] when that is so of the mirror's, and
    /// [`Error::StoppedAtStart`] when a signal comes while the start waits for it.
    pub fn new(mut config: TrainerConfig, hparams: &impl Serialize) -> Result<Self> {
        let hparams = hparams_to_json(hparams).map_err(|error| {
            let setting =
                error.field.map_or_else(|| "hparams".to_owned(), |field| format!("hparams.{field}"));
            Error::config(setting, error.reason)
        })?;
        // Hours of training would end without a checkpoint that can be read.
        check_kept_json(&hparams.to_string())
            .map_err(|error| Error::config("hparams", format!("no checkpoint could have them: {error}")))?;
        let temporary = fast_dev_run::begin(&mut config)?;
        let stop = StopControl::start(&config);
        file_size_limit::make_it_an_error();
        let run = OpenRun::open(&mut config, &stop.signals.view())?;
        stop.set_config(config.clone());
        stop.signals.set_output(run.output.handle());
        let _entered = run.output.enter();
        if config.writes() && config.saves_exceptions() {
            warn_if_aborting();
        }
        let environment = Arc::new(EnvironmentProbe::start());
        let (data, saver) = (TrainingData::default(), SaverSetup::new(&config));
        Ok(Self {
            setup: RunSetup { config, hparams, run, environment, data, saver },
            validation_sets: Vec::new(),
            callbacks: Callbacks::new(),
            devices: DeviceSettings::default(),
            stop,
            logger_slot: LoggerSlot::default(),
            speed: SpeedMeter::default(),
            temporary,
        })
    }

    /// Sets other limits of a checkpoint than the reader's. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn checkpoint_limits(mut self, limits: Limits) -> Self {
        self.setup.saver.limits = limits;
        self
    }

    /// Adds a saving strategy of your own beside those of the configuration.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.setup.saver.strategies.push(Box::new(strategy));
        self
    }

    /// Adds a callback: code of your own at the events of the run, with a state that resumes. Callbacks are
    /// called in the order in which they are added.
    #[must_use]
    pub fn callback(mut self, callback: impl Callback<M> + 'static) -> Self {
        self.callbacks.add(Box::new(callback));
        self
    }

    /// Adds a tracker, which sends what the run logs to another program. It is one of the
    /// [callbacks](Self::callback), and works on a thread of its own. The end of the run waits for it as
    /// [`trackers_wait_seconds`](TrainerConfig::trackers_wait_seconds) says.
    #[must_use]
    pub fn tracker(self, tracker: impl Tracker) -> Self {
        let wait = wait_at_end(&self.setup.config);
        self.callback(TrackerCallback::new(tracker).with_wait_at_end(wait))
    }

    /// Adds a validation set beside that of [`training`](Self::training). Each validation runs over that one
    /// first, and then over each added set, in the order in which they are added.
    ///
    /// Every metric of the validation is computed on each set: `val_loss` on the set `hard` is
    /// `val_hard_loss`, and is used as any other metric. The name consists of letters and digits, with a
    /// single `_` between them; [`fit`](Self::fit) reports another one.
    ///
    /// ```no_run
    /// # use burn::data::dataloader::DataLoader;
    /// # use burn::train::{InferenceStep, LearnerModel};
    /// # use burn_trainer::Trainer;
    /// # use std::sync::Arc;
    /// # fn add<M: LearnerModel>(
    /// #     trainer: Trainer<M>, hard_loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    /// # ) -> Trainer<M> {
    /// trainer.validation_set("hard", hard_loader) // val_hard_loss
    /// # }
    /// ```
    #[must_use]
    pub fn validation_set(
        mut self,
        name: impl Into<String>,
        data: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    ) -> Self {
        self.validation_sets.push(NamedLoader::new(name.into(), data));
        self
    }

    /// Trains on these devices, in place of the one that the model is on: in each step a batch on every one
    /// of them. The first has the model and validates. With the feature `remote` they can be devices of other
    /// machines: when one of them is lost, the run ends with [`Error::DeviceLost`].
    ///
    /// An optimizer step then uses as many batches as there are devices (times `grads_accumulation`). With
    /// the [`ResumableDataLoader`](crate::ResumableDataLoader) the devices share the batches of an epoch in
    /// their order, so that a run can resume with another number of devices. burn splits other loaders: each
    /// device gets a part of the data set.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices.named = devices.into_iter().collect();
        self
    }

    /// Where the optimizer works with several devices: on the first one, as by default, or on all of them,
    /// each with a part of the parameters.
    #[must_use]
    pub fn optimizer_placement(mut self, optim: MultiDeviceOptim) -> Self {
        self.devices.optim = optim;
        self
    }

    /// The configuration, with the run id filled in.
    #[must_use]
    pub fn config(&self) -> &TrainerConfig {
        &self.setup.config
    }

    /// Starts a device for this run: it computes gradients, with
    /// [`gradient_checkpointing`](TrainerConfig::gradient_checkpointing) if that is set, and its random
    /// numbers begin with the configuration's seed.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] when the device cannot be used.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn run<M: burn::train::LearnerModel>(trainer: burn_trainer::Trainer<M>) -> burn_trainer::Result<()> {
    /// let device = trainer.device(burn::tensor::Device::default())?;
    /// # Ok(()) }
    /// ```
    pub fn device(&self, device: Device) -> Result<Device> {
        start_device(&device)?;
        let device = training_device(device, self.setup.config.gradient_checkpointing);
        device.seed(self.setup.config.seed);
        Ok(device)
    }

    /// Begins a data loader whose order can be restored. Its
    /// [`shuffled`](ResumableDataLoaderBuilder::shuffled) uses the configuration's seed.
    pub fn loader<I: 'static, O: Send + 'static>(
        &self,
        batcher: impl Batcher<I, O> + 'static,
    ) -> ResumableDataLoaderBuilder<I, O> {
        ResumableDataLoader::builder(batcher).of_run(self.setup.config.seed)
    }

    /// The number of optimizer steps of the whole run, for schedules that depend on its length: by
    /// `max_epochs`, `max_steps`, the limits of batches, the trainer's [devices](Self::devices), and the
    /// batches that a step accumulates on each of them (`grads_accumulation`; 1 without). A run that resumes
    /// with [`keep_effective_batch`](TrainerConfig::keep_effective_batch) has as many batches in a step as
    /// before; without it, the steps that are done count as they are. `max_time`, early stopping and
    /// callbacks can end the run before.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use burn::data::dataloader::DataLoader;
    /// # use burn::train::LearnerModel;
    /// # use burn_trainer::Trainer;
    /// use burn_trainer::lr_scheduler::WarmupCosine;
    ///
    /// # fn schedule<M: LearnerModel, B>(trainer: &Trainer<M>, train: &Arc<dyn DataLoader<B>>)
    /// # -> burn_trainer::Result<()> {
    /// let schedule = WarmupCosine::new(3e-4, trainer.optimizer_steps(&**train, 4)?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a loader that does not say how many batches it has: those of burn do not.
    pub fn optimizer_steps<B>(&self, train: &dyn DataLoader<B>, grads_accumulation: usize) -> Result<u64> {
        let RunSetup { config, run, .. } = &self.setup;
        let Some(batches) = LoaderSize::of(train).map(LoaderSize::batches) else {
            let reason = "the training data's loader does not say how many batches it has: take one of Trainer::loader";
            return Err(Error::config("Trainer::optimizer_steps", reason));
        };
        let used = config.train_limits().resolve(Some(batches))?;
        let batches = used.map_or(batches, |used| used.min(batches));
        let now = self.devices.named.len().max(1) as u64 * grads_accumulation.max(1) as u64;
        let resumed = run.resume.as_ref().map(|resume| &resume.state);
        let before = resumed.and_then(|state| state.batches_per_step);
        let of_step = before.filter(|_| config.keep_effective_batch).unwrap_or(now).max(1);
        let epochs = config.max_epochs as u64;
        // Those done can have had another number of batches.
        let since = resumed.and_then(|state| StepChange::of(state, of_step)).unwrap_or_default();
        let steps = since.steps_at_end(epochs, batches, of_step);
        Ok(config.max_steps.map_or(steps, |max| max.min(steps)))
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        self.setup.run.layout.run_dir()
    }

    /// burn's `SupervisedTraining` for this run: its files go to the run's directory, and progress is shown
    /// as [`TrainerConfig::progress`] says.
    ///
    /// Register metrics, early stopping and so on, then pass it to [`Trainer::fit`] or [`Trainer::fit_with`].
    #[must_use]
    pub fn training(
        &self,
        train: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        valid: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
    ) -> SupervisedTraining<M> {
        let RunSetup { config, run, data, .. } = &self.setup;
        let _entered = run.output.enter();
        let (train, valid) = (data.train.track(train), data.valid.track(valid));
        let training = SupervisedTraining::new(self.run_dir(), train, valid);
        // Before a logger of the user's.
        let training = training.with_metric_logger(self.logger_slot.logger());
        if !config.writes() {
            // The process of rank 0 writes burn's log, and shows how far training is.
            return training.with_application_logger(None).renderer(Box::new(PlainRenderer::hidden()));
        }
        data.warn_of_small_data();
        let batches = Arc::clone(&run.resumed_batches);
        let log = ExperimentLog::of_run(self.run_dir());
        let training = training.with_application_logger(Some(Box::new(log)));
        let meter = self.speed.clone();
        let speed = Arc::new(move || meter.shown());
        let slot = self.logger_slot.clone();
        let earlier = Arc::new(move |epoch| slot.values_of_done(epoch));
        let (dir, interrupter) = (self.run_dir().to_path_buf(), Arc::clone(&self.stop.interrupter));
        let sets = data.sets.clone();
        let display = ProgressDisplay::new(config.progress, dir, batches, interrupter, speed, earlier, sets);
        training.renderer(Box::new(display))
    }
}
