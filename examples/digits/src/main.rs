//! Trains a small convolutional network on handwritten digits, and keeps its checkpoints.
//!
//! `cargo xtask train` runs this program. To train a model of your own, copy this crate: the library is plain
//! burn, and `train` below is all that the trainer asks for.

mod predictions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use backend::DeviceArgs;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::metric::AccuracyMetric;
use burn::train::{Learner, MultiDeviceOptim};
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::cli::{self, EvaluateArgs, FindArgs, FinderInput, TrainArgs};
use burn_trainer::evaluation::{Evaluation, ModelEvaluator};
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{
    FitResult, Result, ResumableDataLoader, ResumableDataLoaderBuilder, Trainer, TrainerConfig,
};
use clap::Parser;
use digits::{Batch, Data, Digits, DigitsConfig, ImageBatcher, LabelledImage};

/// Training allocates while a checkpoint is written: this allocator keeps freed memory for that.
#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

/// Train a small convolutional network on handwritten digits.
#[derive(Parser)]
#[command(name = "cargo xtask train digits")]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
    #[command(flatten)]
    evaluate: EvaluateArgs,
    #[command(flatten)]
    find: FindArgs,
    /// The images to train on
    #[arg(long, value_enum)]
    data: Option<Data>,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Where to write the trained model's probabilities for the validation images, as CSV
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
}

fn main() -> ExitCode {
    burn_trainer::program!();
    cli::main(|| {
        let mut config = TrainerConfig::new().with_primary_metric("val_loss").with_max_epochs(10);
        let mut hparams = DigitsConfig::new();
        let args: Args = cli::parse(&config, &hparams);
        args.train.check_own_flag("--data", "data", args.data.is_some())?;
        args.train.apply(&mut config, &mut hparams)?;
        args.evaluate.apply(&mut config);
        hparams.data = args.data.unwrap_or(hparams.data);
        hparams.check()?;
        if let Some(file) = args.predictions.as_ref().filter(|_| config.writes()) {
            cli::check_output_file("--predictions", file)?;
        }
        let placement = args.devices.optimizer_placement();
        let input = || finder_input(&config, &hparams, args.devices.devices()?, placement);
        if let Some(status) = args.find.run(&config, &hparams, input)? {
            return Ok(status);
        }
        let devices = args.devices.devices();
        let result = devices.and_then(|devices| train(config.clone(), &hparams, devices, placement));
        let written = match (&result, &args.predictions) {
            (Ok(_), Some(_)) if config.fast_dev_run => {
                eprintln!("the predictions of a model that was not trained are not written");
                Ok(())
            }
            (Ok(result), Some(file)) if config.writes() => predictions::write(file, result, &hparams),
            _ => Ok(()),
        };
        let status = args.evaluate.print_result(result, &config, "cargo xtask train digits", evaluate)?;
        written.map(|()| status)
    })
}

fn train(
    config: TrainerConfig,
    hparams: &DigitsConfig,
    devices: Vec<Device>,
    placement: MultiDeviceOptim,
) -> Result<FitResult<Digits>> {
    let (seed, first) = (config.seed, devices[0].clone());
    let (train, valid) = digits::load(hparams.data)?;
    let trainer = Trainer::new(config, hparams)?.devices(devices).optimizer_placement(placement);

    let training = trainer
        .training(loader(hparams).shuffle(seed).build(train), loader(hparams).build(valid))
        .metrics((MeanLoss::new(), AccuracyMetric::new()))
        .grads_accumulation(hparams.grads_accumulation);

    let device = trainer.device(first)?;
    let learner =
        Learner::new(hparams.init(&device), AdamConfig::new().init_streamed(), hparams.learning_rate);
    trainer.fit(training, learner)
}

fn loader(hparams: &DigitsConfig) -> ResumableDataLoaderBuilder<LabelledImage, Batch> {
    ResumableDataLoader::builder(ImageBatcher).batch_size(hparams.batch_size).num_workers(hparams.num_workers)
}

/// What `--find-lr` and `--find-batch-size` try.
fn finder_input(
    config: &TrainerConfig,
    hparams: &DigitsConfig,
    devices: Vec<Device>,
    placement: MultiDeviceOptim,
) -> Result<FinderInput<Digits, DigitsConfig>> {
    let (seed, device) = (config.seed, devices[0].clone().autodiff());
    let (train, _) = digits::load(hparams.data)?;
    let train = Arc::new(train);
    let loader = move |hparams: &DigitsConfig| loader(hparams).shuffle(seed).build(Arc::clone(&train));
    device.seed(seed);
    Ok(FinderInput::new(hparams.init(&device), AdamConfig::new().init_streamed(), loader)
        .with_devices(devices)
        .with_optimizer_placement(placement)
        .with_grads_accumulation(hparams.grads_accumulation))
}

/// The metrics of a checkpoint on the validation images of its data, called as in training: there are no
/// images for a test alone.
fn evaluate(checkpoint: &Path, device: &Device) -> Result<Evaluation> {
    let hparams = Digits::hparams_from_checkpoint(checkpoint)?;
    let (_, valid) = digits::load(hparams.data)?;
    let loader = ResumableDataLoader::builder(ImageBatcher).batch_size(hparams.batch_size).build(valid);
    let mut evaluator = ModelEvaluator::<Digits>::of_checkpoint(checkpoint, device)?.split("val");
    evaluator.evaluate(loader, (MeanLoss::new(), AccuracyMetric::new()))
}
