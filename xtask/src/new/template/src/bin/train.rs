//! Trains the model and keeps its checkpoints.

use std::path::Path;
use std::process::ExitCode;

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::Learner;
use burn::train::metric::AccuracyMetric;
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::cli::{self, EvaluateArgs, FindArgs, FinderInput, TrainArgs};
use burn_trainer::evaluation::{Evaluation, ModelEvaluator};
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use clap::Parser;

use my_model::data::{self, PointBatcher};
use my_model::model::{Classifier, ClassifierConfig};

/// Keeps freed memory: a checkpoint is written while training continues, in memory of its own.
#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

/// How this program is started, for the line that says how to resume.
const PROGRAM: &str = "cargo run --bin train --";

/// Train the model.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
    #[command(flatten)]
    evaluate: EvaluateArgs,
    #[command(flatten)]
    find: FindArgs,
}

fn main() -> ExitCode {
    // The metadata of the checkpoints then lists the packages of this program.
    burn_trainer::program!();
    cli::main(|| {
        let mut config = TrainerConfig::new()
            .with_primary_metric("val_loss") // keeps the best checkpoint, the last one, and the one before a failure
            .with_max_epochs(10);
        let mut hparams = ClassifierConfig::new();
        let args: Args = cli::parse(&config, &hparams); // --help lists the keys of --set
        args.train.apply(&mut config, &mut hparams)?;
        args.evaluate.apply(&mut config);
        let input = || finder_input(&config, &hparams);
        if let Some(status) = args.find.run(&config, &hparams, input)? {
            return Ok(status);
        }
        let result = train(config.clone(), &hparams);
        args.evaluate
            .print_result(result, &config, PROGRAM, evaluate)
    })
}

fn train(config: TrainerConfig, hparams: &ClassifierConfig) -> Result<FitResult<Classifier>> {
    let trainer = Trainer::new(config, hparams)?;
    let device = trainer.device(Device::default())?;
    let loader = || trainer.loader(PointBatcher).batch_size(hparams.batch_size);
    let train = loader().shuffled().build(data::training());
    let valid = loader().build(data::validation());
    let metrics = (MeanLoss::new(), AccuracyMetric::new());
    let training = trainer.training(train, valid).metrics(metrics);
    let optimizer = AdamConfig::new().init_streamed();
    let learner = Learner::new(hparams.init(&device), optimizer, hparams.learning_rate);
    trainer.fit(training, learner)
}

/// What `--find-lr` and `--find-batch-size` try: the model, the optimizer and the loader of `train`.
fn finder_input(
    config: &TrainerConfig,
    hparams: &ClassifierConfig,
) -> Result<FinderInput<Classifier, ClassifierConfig>> {
    let seed = config.seed;
    let device = Device::default().autodiff();
    device.seed(seed);
    let loader = move |hparams: &ClassifierConfig| {
        let loader = ResumableDataLoader::builder(PointBatcher).batch_size(hparams.batch_size);
        loader.shuffle(seed).build(data::training())
    };
    let optimizer = AdamConfig::new().init_streamed();
    Ok(FinderInput::new(hparams.init(&device), optimizer, loader))
}

/// The numbers of a checkpoint. Put data in place of this that neither trains nor chooses the best
/// checkpoint.
fn evaluate(checkpoint: &Path, device: &Device) -> Result<Evaluation> {
    let hparams = Classifier::hparams_from_checkpoint(checkpoint)?;
    let loader = ResumableDataLoader::builder(PointBatcher).batch_size(hparams.batch_size);
    let mut evaluator =
        ModelEvaluator::<Classifier>::of_checkpoint(checkpoint, device)?.split("val");
    evaluator.evaluate(
        loader.build(data::validation()),
        (MeanLoss::new(), AccuracyMetric::new()),
    )
}
