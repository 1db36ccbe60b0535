//! Trains a small GPT on the bytes of a text, and keeps its checkpoints.
//!
//! `cargo xtask train char-lm` runs this program; the program `sample` writes text with what it leaves.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use backend::DeviceArgs;
use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn::train::metric::{LearningRateMetric, PerplexityMetric};
use burn::train::{Learner, MultiDeviceOptim};
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::cli::{self, EvaluateArgs, FindArgs, FinderInput, TrainArgs};
use burn_trainer::evaluation::{Evaluation, ModelEvaluator};
use burn_trainer::metric::MeanLoss;
use burn_trainer::{
    FitResult, Result, ResumableDataLoader, ResumableDataLoaderBuilder, Trainer, TrainerConfig,
};
use char_lm::{Batch, CharLm, CharLmConfig, Text, Window, WindowBatcher, Windows};
use clap::Parser;

/// Training allocates while a checkpoint is written: this allocator keeps freed memory for that.
#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

/// Train a small GPT on the bytes of a text.
#[derive(Parser)]
#[command(name = "cargo xtask train char-lm")]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
    #[command(flatten)]
    evaluate: EvaluateArgs,
    #[command(flatten)]
    find: FindArgs,
    #[command(flatten)]
    devices: DeviceArgs,
}

fn main() -> ExitCode {
    burn_trainer::program!();
    cli::main(|| {
        let mut config = TrainerConfig::new().with_primary_metric("val_perplexity").with_max_epochs(10);
        let mut hparams = CharLmConfig::new();
        let args: Args = cli::parse(&config, &hparams);
        args.train.apply(&mut config, &mut hparams)?;
        args.evaluate.apply(&mut config);
        hparams.check()?;
        let placement = args.devices.optimizer_placement();
        let input = || finder_input(&config, &hparams, args.devices.devices()?, placement);
        if let Some(status) = args.find.run(&config, &hparams, input)? {
            return Ok(status);
        }
        let devices = args.devices.devices();
        let result = devices.and_then(|devices| train(config.clone(), &hparams, devices, placement));
        args.evaluate.print_result(result, &config, "cargo xtask train char-lm", evaluate)
    })
}

fn train(
    config: TrainerConfig,
    hparams: &CharLmConfig,
    devices: Vec<Device>,
    placement: MultiDeviceOptim,
) -> Result<FitResult<CharLm>> {
    let (seed, epochs, first) = (config.seed, config.max_epochs, devices[0].clone());
    let context = hparams.shape().context;
    let (train, valid) = char_lm::load()?;
    let trainer = Trainer::new(config, hparams)?.devices(devices).optimizer_placement(placement);

    // Windows from other places in every epoch for training, always the same for validation.
    let training = train_loader(hparams, &train, seed);
    let validation = loader(hparams, &valid).build(Windows::new(&valid, context, hparams.valid_windows));
    // Perplexity for validation alone: a training step has better to do than to read all logits once more,
    // and its loss is perplexity's logarithm.
    let training = trainer
        .training(training, validation)
        .metrics((MeanLoss::new(),))
        .metric_valid_numeric(PerplexityMetric::new())
        .metric_train_numeric(LearningRateMetric::new())
        .grads_accumulation(hparams.grads_accumulation);

    let device = trainer.device(first)?;
    let learner = Learner::new(hparams.init(&device), hparams.optimizer(), hparams.schedule(epochs));
    trainer.fit(training, learner)
}

fn loader(hparams: &CharLmConfig, text: &Text) -> ResumableDataLoaderBuilder<Window, Batch> {
    ResumableDataLoader::builder(WindowBatcher::new(text, hparams.shape().context))
        .batch_size(hparams.batch_size)
        .num_workers(hparams.num_workers)
}

fn train_loader(hparams: &CharLmConfig, text: &Text, seed: u64) -> Arc<dyn DataLoader<Batch>> {
    let windows = Windows::new(text, hparams.shape().context, hparams.windows_per_epoch);
    loader(hparams, text).shuffle(seed).transform(Window::anywhere).build(windows)
}

/// What `--find-lr` and `--find-batch-size` try.
fn finder_input(
    config: &TrainerConfig,
    hparams: &CharLmConfig,
    devices: Vec<Device>,
    placement: MultiDeviceOptim,
) -> Result<FinderInput<CharLm, CharLmConfig>> {
    let (seed, device) = (config.seed, devices[0].clone().autodiff());
    let (train, _) = char_lm::load()?;
    device.seed(seed);
    let loader = move |hparams: &CharLmConfig| train_loader(hparams, &train, seed);
    Ok(FinderInput::new(hparams.init(&device), hparams.optimizer(), loader)
        .with_devices(devices)
        .with_optimizer_placement(placement)
        .with_grads_accumulation(hparams.grads_accumulation))
}

/// The metrics of a checkpoint on the validation text, called as in training.
fn evaluate(checkpoint: &Path, device: &Device) -> Result<Evaluation> {
    let hparams = CharLm::hparams_from_checkpoint(checkpoint)?;
    hparams.check()?;
    let context = hparams.shape().context;
    let (_, valid) = char_lm::load()?;
    let windows = Windows::new(&valid, context, hparams.valid_windows);
    let loader = ResumableDataLoader::builder(WindowBatcher::new(&valid, context));
    let loader = loader.batch_size(hparams.batch_size).build(windows);
    let mut evaluator = ModelEvaluator::<CharLm>::of_checkpoint(checkpoint, device)?.split("val");
    evaluator.evaluate(loader, (MeanLoss::new(), PerplexityMetric::new()))
}
