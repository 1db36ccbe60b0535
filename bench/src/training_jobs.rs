//! The jobs: the examples' models and data, trained by the trainer as the examples do, with a strategy that
//! watches.

use std::path::PathBuf;

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::metric::{AccuracyMetric, LossMetric, PerplexityMetric};
use burn::train::{ExecutionStrategy, Learner, SupervisedTraining};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use char_lm::{CharLm, CharLmConfig, Size, Window, WindowBatcher, Windows};
use digits::{Digits, DigitsConfig, ImageBatcher};
use indexmap::IndexMap;

use crate::measure::stopwatch::Stopwatch;

/// Something to train.
pub trait Job {
    /// What it is called in a table.
    fn name(&self) -> String;

    /// Optimizer steps in an epoch.
    fn steps_per_epoch(&self) -> u64;

    /// Parameters of its model, which is made on a device for that.
    fn parameters(&self, device: &Device) -> usize;

    /// Trains on these devices, one at least, watched by a stopwatch, which saves too.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::fit`].
    fn train(&self, config: TrainerConfig, stopwatch: Stopwatch, devices: &[Device]) -> Result<Outcome>;
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Where the run's files are.
    pub run_dir: PathBuf,
    /// The latest value of every metric.
    pub metrics: IndexMap<String, f64>,
    /// Seconds spent training.
    pub seconds: f64,
    /// States that could not be written.
    pub failed_saves: usize,
}

/// A small convolutional network with batch normalisation and dropout, on images of digits.
pub struct DigitsJob {
    hparams: DigitsConfig,
    images: u64,
}

/// A small GPT, on a text.
pub struct CharLmJob {
    hparams: CharLmConfig,
}

impl DigitsJob {
    /// With the example's own settings.
    ///
    /// # Errors
    ///
    /// When the images cannot be read.
    pub fn new() -> Result<Self> {
        let hparams = DigitsConfig::new();
        let (train, _) = digits::load(hparams.data)?;
        Ok(Self { images: burn::data::dataset::Dataset::len(&train) as u64, hparams })
    }
}

impl DigitsJob {
    /// Trains by a loop of burn's, with the model on a device.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::fit_with`].
    pub fn train_with(
        &self,
        config: TrainerConfig,
        device: &Device,
        strategy: ExecutionStrategy,
    ) -> Result<Outcome> {
        let trainer = Trainer::new(config.clone(), &self.hparams)?;
        let (training, learner) = self.prepared(&config, &trainer, device)?;
        trainer.fit_with(training, learner, strategy).map(Outcome::of)
    }

    fn prepared(
        &self,
        config: &TrainerConfig,
        trainer: &Trainer<Digits>,
        device: &Device,
    ) -> Result<(SupervisedTraining<Digits>, Learner<Digits>)> {
        let hparams = &self.hparams;
        let (train, valid) = digits::load(hparams.data)?;
        let loader = || ResumableDataLoader::builder(ImageBatcher).batch_size(hparams.batch_size);
        let training = trainer
            .training(loader().shuffle(config.seed).build(train), loader().build(valid))
            .metrics((LossMetric::new(), AccuracyMetric::new()));
        device.seed(config.seed);
        let adam = AdamConfig::new().init_streamed();
        Ok((training, Learner::new(hparams.init(device), adam, hparams.learning_rate)))
    }
}

impl CharLmJob {
    /// With these hyperparameters.
    #[must_use]
    pub fn new(hparams: CharLmConfig) -> Self {
        Self { hparams }
    }

    /// Trains on these devices with a trainer that the caller sets up.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::fit`].
    pub(crate) fn train_by(
        &self,
        config: TrainerConfig,
        devices: &[Device],
        set_up: impl FnOnce(Trainer<CharLm>) -> Trainer<CharLm>,
    ) -> Result<Outcome> {
        let (hparams, seed, epochs) = (&self.hparams, config.seed, config.max_epochs);
        let context = hparams.shape().context;
        let (train, valid) = char_lm::load()?;
        let trainer = set_up(Trainer::new(config, hparams)?).devices(devices.iter().cloned());
        let loader = |text| {
            let batcher = WindowBatcher::new(text, context);
            ResumableDataLoader::builder(batcher).batch_size(hparams.batch_size)
        };
        let windows = Windows::new(&train, context, hparams.windows_per_epoch);
        let training = loader(&train).shuffle(seed).transform(Window::anywhere).build(windows);
        let validation = loader(&valid).build(Windows::new(&valid, context, hparams.valid_windows));
        let training = trainer
            .training(training, validation)
            .metrics((LossMetric::new(),))
            .metric_valid_numeric(PerplexityMetric::new())
            .grads_accumulation(hparams.grads_accumulation);
        let device = first(devices)?;
        device.seed(seed);
        let learner = Learner::new(hparams.init(&device), hparams.optimizer(), hparams.schedule(epochs));
        trainer.fit(training, learner).map(Outcome::of)
    }
}

impl Job for DigitsJob {
    fn name(&self) -> String {
        "digits".to_owned()
    }

    fn steps_per_epoch(&self) -> u64 {
        self.images.div_ceil(self.hparams.batch_size as u64)
    }

    fn parameters(&self, device: &Device) -> usize {
        burn::module::Module::num_params(&self.hparams.init(device))
    }

    fn train(&self, config: TrainerConfig, stopwatch: Stopwatch, devices: &[Device]) -> Result<Outcome> {
        let trainer = Trainer::new(config.clone(), &self.hparams)?;
        let trainer = trainer.strategy(stopwatch).devices(devices.iter().cloned());
        let (training, learner) = self.prepared(&config, &trainer, &first(devices)?)?;
        trainer.fit(training, learner).map(Outcome::of)
    }
}

impl Job for CharLmJob {
    fn name(&self) -> String {
        let size = serde_json::to_value(self.hparams.size).unwrap_or_default();
        format!("char-lm {}", size.as_str().unwrap_or_default())
    }

    fn steps_per_epoch(&self) -> u64 {
        self.hparams.steps_per_epoch() as u64
    }

    fn parameters(&self, _: &Device) -> usize {
        self.hparams.shape().parameters().unwrap_or_default()
    }

    fn train(&self, config: TrainerConfig, stopwatch: Stopwatch, devices: &[Device]) -> Result<Outcome> {
        self.train_by(config, devices, |trainer| trainer.strategy(stopwatch))
    }
}

/// The one that has the model, with gradients.
fn first(devices: &[Device]) -> Result<Device> {
    let none = || Error::Config { setting: "devices".to_owned(), reason: "there is none".to_owned() };
    Ok(devices.first().ok_or_else(none)?.clone().autodiff())
}

/// A size of char-lm by its name.
///
/// # Errors
///
/// The names there are.
pub fn parse_size(name: &str) -> Result<Size, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}

impl Outcome {
    fn of<M>(result: FitResult<M>) -> Self {
        Self {
            run_dir: result.run_dir,
            metrics: result.metrics,
            seconds: result.training_time_seconds,
            failed_saves: result.failed_saves.len(),
        }
    }
}
