//! Trains a small network whose steps depend on everything that a checkpoint has to carry: Adam's moments, a
//! schedule that warms up and decays, dropout's random numbers, running statistics, accumulated gradients.
//! With `everything` also averaged parameters, a guard that leaves steps out, a rate that falls on a plateau,
//! counts of a callback, and a second validation set.
//!
//! The soak kills it. It is small, so that a run goes through many epochs, validations and saves in a second.
//! Tests tell it to wait or to fail at one of its batches.

use std::process::ExitCode;
use std::sync::Arc;

use burn::config::Config;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, Relu};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn::train::{
    ClassificationOutput, ExecutionStrategy, InferenceStep, Learner, MultiDeviceOptim, TrainOutput, TrainStep,
};
use burn_trainer::callbacks::{Ema, GradientGuard, NonFinite, ReduceOnPlateau};
use burn_trainer::cli::{self, TrainArgs};
use burn_trainer::lr_scheduler::{WarmupCosine, scaled};
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use clap::Parser;
use system_tests::backend;
use system_tests::models::small::{Counting, Poison, ScriptedMetric};
use system_tests::programs::test_hooks::{self, Split};
use system_tests::random::SplitMix64;

/// Numbers in an item.
const WIDTH: usize = 8;
const CLASSES: usize = 4;
const TRAIN_ITEMS: usize = 480;
const VALID_ITEMS: usize = 120;
/// Items of the training that are a validation set as well.
const TRAINED_ITEMS: usize = 40;
/// How far the items of a class are spread around its centre.
const SPREAD: f32 = 1.5;
const DATA_SEED: u64 = 0;

/// Train a small network with dropout, warm-up and accumulated gradients.
#[derive(Parser)]
#[command(name = "warmup")]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
}

/// The hyperparameters.
#[derive(Config, Debug)]
struct WarmupConfig {
    /// Width of the hidden layers.
    #[config(default = 32)]
    hidden: usize,
    /// Probability that a hidden value is left out of a training step.
    #[config(default = 0.2)]
    dropout: f64,
    /// Items in a batch.
    #[config(default = 16)]
    batch_size: usize,
    /// Devices to train on, all of them the CPU.
    #[config(default = 1)]
    devices: usize,
    /// Whether the optimizer works on all of them.
    #[config(default = false)]
    sharded: bool,
    /// Learning rate of Adam after the warm-up.
    #[config(default = 1e-2)]
    learning_rate: f64,
    /// Optimizer steps until then.
    #[config(default = 20)]
    warmup_steps: usize,
    /// Optimizer steps from then until the learning rate is lowest.
    #[config(default = 200)]
    decay_steps: usize,
    /// Batches whose gradients are added up before an optimizer step.
    #[config(default = 1)]
    grads_accumulation: usize,
    /// Threads that prepare batches; 0 prepares them in the loop.
    #[config(default = 0)]
    num_workers: usize,
    /// Items to train on. Fewer or more have the same ones first.
    #[config(default = "TRAIN_ITEMS")]
    train_items: usize,
    /// Whether accuracy is a metric.
    #[config(default = true)]
    accuracy: bool,
    /// Whether it has every callback that there is, and a second validation set.
    #[config(default = false)]
    everything: bool,
}

fn main() -> ExitCode {
    cli::main(|| {
        let mut config = TrainerConfig::new().with_primary_metric("val_loss").with_max_epochs(4);
        let mut hparams = WarmupConfig::new();
        let args: Args = cli::parse(&config, &hparams);
        args.train.apply(&mut config, &mut hparams)?;
        let result = train(config.clone(), &hparams, &backend::device().autodiff());
        cli::print_result(result.inspect(|result| test_hooks::show(&result.metrics)), &config, "warmup")
    })
}

fn train(config: TrainerConfig, hparams: &WarmupConfig, device: &Device) -> Result<FitResult<Network>> {
    let seed = config.seed;
    let (train, valid) = data(hparams.train_items);
    let optim = match hparams.sharded {
        true => MultiDeviceOptim::OptimSharded,
        false => MultiDeviceOptim::OptimMainDevice,
    };
    let mut trainer = Trainer::new(config, hparams)?.optimizer_placement(optim);
    if !test_hooks::is_burns_loop() {
        trainer = trainer.devices((0..hparams.devices).map(|_| device.clone()));
    }
    if hparams.everything {
        let trained = loader(hparams, seed, data(TRAINED_ITEMS).0);
        trainer = with_everything(trainer).validation_set("trained", trained);
    }
    if let Some(callback) = test_hooks::ends_at_step() {
        trainer = trainer.callback(callback);
    }
    if let Some(strategy) = test_hooks::strategy() {
        trainer = trainer.strategy(strategy);
    }
    let mut training = trainer
        .training(loader(hparams, seed, train), loader(hparams, seed, valid))
        .metrics((LossMetric::new(),))
        .grads_accumulation(hparams.grads_accumulation);
    if hparams.accuracy {
        training = training.metrics((AccuracyMetric::new(),));
    }
    training = training.metric_train_numeric(LearningRateMetric::new());

    if test_hooks::has_panicking_metric() {
        training = training.metric_train_numeric(ScriptedMetric::new("Bad", &[]).panicking());
    }
    device.seed(seed);
    let learner = Learner::new(hparams.init(device), AdamConfig::new().init(), hparams.schedule()?);
    test_hooks::before_training(training.interrupter());
    if test_hooks::is_burns_loop() {
        return trainer.fit_with(training, learner, ExecutionStrategy::single(device.clone()));
    }
    trainer.fit(training, learner)
}

/// All callbacks with a state, and gradients of some steps that are not finite.
fn with_everything(trainer: Trainer<Network>) -> Trainer<Network> {
    let is_poisoned = |epoch: u64, batch: u64| epoch.is_multiple_of(2) && [12, 16, 24].contains(&batch);
    let skip = NonFinite::Skip { most_in_a_row: 2 };
    trainer
        .callback(Poison::when(is_poisoned, f32::INFINITY))
        .callback(GradientGuard::new().with_clip_norm(1.0).with_non_finite(skip))
        .callback(Counting::default())
        .callback(Ema::new(0.9).with_start_step(3).with_every_n_steps(2))
        .callback(ReduceOnPlateau::new("val_loss").with_factor(0.9).with_patience(0).with_min_scale(0.1))
}

fn loader(hparams: &WarmupConfig, seed: u64, items: InMemDataset<Item>) -> Arc<dyn DataLoader<Batch>> {
    if test_hooks::is_burns_loader() {
        let builder = DataLoaderBuilder::new(ItemBatcher).batch_size(hparams.batch_size);
        return builder.shuffle(seed).num_workers(hparams.num_workers).build(items);
    }
    ResumableDataLoader::builder(ItemBatcher)
        .batch_size(hparams.batch_size)
        .num_workers(hparams.num_workers)
        .shuffle(seed)
        .build(items)
}

impl WarmupConfig {
    fn init(&self, device: &Device) -> Network {
        Network {
            input: LinearConfig::new(WIDTH, self.hidden).init(device),
            norm: BatchNormConfig::new(self.hidden).init(device),
            hidden: LinearConfig::new(self.hidden, self.hidden).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
            output: LinearConfig::new(self.hidden, CLASSES).init(device),
            relu: Relu::new(),
        }
    }

    fn schedule(&self) -> Result<ModuleLrScheduler> {
        let top = self.learning_rate;
        if self.everything {
            let steps = (self.warmup_steps + self.decay_steps) as u64;
            let cosine = WarmupCosine::new(top, steps).with_warmup_steps(self.warmup_steps as u64);
            return Ok(scaled(cosine.with_floor(top / 10.0)).into());
        }
        let warmup = LinearLrSchedulerConfig::new(top / 100.0, top, self.warmup_steps);
        let decay = CosineAnnealingLrSchedulerConfig::new(top, self.decay_steps);
        let both = vec![LrSchedulerConfig::Linear(warmup), LrSchedulerConfig::Cosine(decay)];
        SequentialLrSchedulerConfig::new(both, vec![self.warmup_steps])
            .init()
            .map_err(|reason| Error::Config { setting: "learning_rate".to_owned(), reason })
    }
}

/// Numbers around the centre of a class, and the class.
#[derive(Debug, Clone)]
struct Item {
    values: [f32; WIDTH],
    class: i64,
}

/// The items for training, and those for validation: the same in every process.
fn data(train_items: usize) -> (InMemDataset<Item>, InMemDataset<Item>) {
    let mut random = SplitMix64::new(DATA_SEED);
    let mut around_0 = |spread: f32| (2.0 * random.fraction() - 1.0) * spread;
    let centres: [[f32; WIDTH]; CLASSES] = std::array::from_fn(|_| std::array::from_fn(|_| around_0(1.0)));
    let count = VALID_ITEMS + train_items.max(TRAIN_ITEMS);
    let mut items: Vec<Item> = (0..count)
        .map(|number| {
            let class = number % CLASSES;
            Item { values: centres[class].map(|centre| centre + around_0(SPREAD)), class: class as i64 }
        })
        .collect();
    let valid = items.splice(TRAIN_ITEMS..TRAIN_ITEMS + VALID_ITEMS, []).collect();
    items.truncate(train_items);
    (InMemDataset::new(items), InMemDataset::new(valid))
}

/// Items for a step.
#[derive(Debug, Clone)]
struct Batch {
    values: Tensor<2>,
    classes: Tensor<1, Int>,
}

#[derive(Debug, Clone, Default)]
struct ItemBatcher;

impl Batcher<Item, Batch> for ItemBatcher {
    fn batch(&self, items: Vec<Item>, device: &Device) -> Batch {
        test_hooks::at_batch(Split::Load);
        let count = items.len();
        let classes: Vec<i64> = items.iter().map(|item| item.class).collect();
        let values: Vec<f32> = items.iter().flat_map(|item| item.values).collect();
        Batch {
            values: Tensor::from_data(TensorData::new(values, [count, WIDTH]), device),
            classes: Tensor::from_data(TensorData::new(classes, [count]), device),
        }
    }
}

#[derive(Module, Debug)]
struct Network {
    input: Linear,
    norm: BatchNorm,
    hidden: Linear,
    dropout: Dropout,
    output: Linear,
    relu: Relu,
}

impl Network {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let x = self.relu.forward(self.norm.forward(self.input.forward(batch.values)));
        let x = self.dropout.forward(self.relu.forward(self.hidden.forward(x)));
        let output = self.output.forward(x);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), batch.classes.clone());
        ClassificationOutput::new(loss, output, batch.classes)
    }
}

impl TrainStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        test_hooks::at_batch(Split::Train);
        let item = self.classify(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        test_hooks::at_batch(Split::Valid);
        self.classify(batch)
    }
}
