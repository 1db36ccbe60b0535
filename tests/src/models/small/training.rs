//! Runs of the small model.

use std::path::Path;

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};
use burn_trainer::burn_ckpt::plumbing::Limits;
use burn_trainer::burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};

use super::model::{Model, Script, learner};
use super::scripted_loader::loader;
use super::scripted_metric::ScriptedMetric;

/// What the programs of the tests are said to be built from. All that they are built from, hundreds of
/// packages, would be in each of their checkpoints, and most of what a test writes, reads and compares.
const DESCRIPTION: &str = r#"{
    "program": "system-tests 0.1.0",
    "packages": [
        { "name": "burn", "version": "0.22.1", "source": "registry", "checksum": "0123" },
        { "name": "burn-trainer", "version": "0.1.0", "source": null, "checksum": null }
    ]
}"#;

/// Leaves the packages of the checkpoints as they are, in a process that has made no configuration yet.
pub fn with_all_packages() {
    burn_trainer::environment::plumbing::register_program("{}");
}

/// A configuration for a run of the small model: `val_loss` is its primary metric.
#[must_use]
pub fn config(root: &Path, epochs: usize) -> TrainerConfig {
    burn_trainer::environment::plumbing::register_program(DESCRIPTION);
    TrainerConfig::new()
        .with_root(root)
        .with_run_id("r1")
        .with_primary_metric("val_loss")
        .with_max_epochs(epochs)
}

/// Trains the small model, with burn's loss as the metric.
///
/// # Errors
///
/// Those of the trainer.
pub fn train(config: TrainerConfig) -> Result<FitResult<Model>> {
    train_scripted(config, Script::default())
}

/// Trains the small model as a script says, with burn's loss as the metric.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_scripted(config: TrainerConfig, script: Script) -> Result<FitResult<Model>> {
    train_with(config, script, |training| training.metrics((LossMetric::new(),)))
}

/// Trains the small model with a metric `Score` whose value after each epoch's validation is given.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_scored(config: TrainerConfig, scores: &[f64]) -> Result<FitResult<Model>> {
    let metric = ScriptedMetric::new("Score", scores);
    train_with(config, Script::default(), |training| training.metric_valid_numeric(metric))
}

/// Trains the small model for an epoch a score. All of its checkpoints stay in `last`, and the `best` ones
/// with the lowest `val_score` in `best`: `epoch=0-step=10.ckpt` and so on.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_and_keep_all(root: &Path, scores: &[f64], best: usize) -> Result<FitResult<Model>> {
    let config = config(root, scores.len()).with_primary_metric("val_score").with_strategies([
        StrategyConfig::Best(Best::new().with_mode(MetricMode::Min).with_topk(best)),
        StrategyConfig::Last(Last::new().with_topk(TopK::All)),
    ]);
    train_scored(config, scores)
}

/// Trains the small model as a script says, with `SupervisedTraining` set up by the caller.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_with(
    config: TrainerConfig,
    script: Script,
    set_up: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &script.hparams())?;
    let training = trainer.training(loader(&script), loader(&Script::default()));
    let learner: Learner<Model> = learner(script);
    trainer.fit(set_up(training), learner)
}

/// Trains the small model as a script says, with burn's loss as the metric and a trainer set up by the
/// caller.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_by(
    config: TrainerConfig,
    script: Script,
    set_up: impl FnOnce(Trainer<Model>) -> Trainer<Model>,
) -> Result<FitResult<Model>> {
    let trainer = set_up(Trainer::new(config, &script.hparams())?);
    let training = trainer.training(loader(&script), loader(&Script::default()));
    trainer.fit(training.metrics((LossMetric::new(),)), learner(script))
}

/// The same with other limits of a checkpoint.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_within(config: TrainerConfig, limits: Limits) -> Result<FitResult<Model>> {
    let script = Script::default();
    let trainer = Trainer::new(config, &script.hparams())?.checkpoint_limits(limits);
    let training = trainer.training(loader(&script), loader(&script));
    trainer.fit(training.metrics((LossMetric::new(),)), learner(script))
}

/// Trains the small model for an epoch on these devices, the first of which has the model.
///
/// # Errors
///
/// Those of the trainer.
///
/// # Panics
///
/// When there is no device.
pub fn train_on_devices(root: &Path, devices: &[Device]) -> Result<FitResult<Model>> {
    let script = Script::default();
    let trainer = Trainer::new(config(root, 1), &script.hparams())?.devices(devices.to_vec());
    let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
    let model = Model::new(script, &devices[0].clone().autodiff());
    trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2))
}

/// A configuration with all three strategies that keeps the checkpoint of every epoch, and resumes where
/// there is one.
#[must_use]
pub fn keeping_every_epoch(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs)
        .with_strategies([
            StrategyConfig::Best(Best::default()),
            StrategyConfig::Last(Last::new().with_topk(TopK::All)),
            StrategyConfig::OnException(OnException::default()),
        ])
        .with_ckpt_path("auto")
}

/// Trains the small model in a loop of burn or of a user.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_with_strategy(
    config: TrainerConfig,
    strategy: impl Into<TrainingStrategy<Model>>,
) -> Result<FitResult<Model>> {
    let with_loss = |training: SupervisedTraining<Model>| training.metrics((LossMetric::new(),));
    train_scripted_with_strategy(config, Script::default(), strategy, with_loss)
}

/// Trains the small model as a script says in a loop of burn or of a user, with `SupervisedTraining` set up
/// by the caller.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_scripted_with_strategy(
    config: TrainerConfig,
    script: Script,
    strategy: impl Into<TrainingStrategy<Model>>,
    set_up: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &script.hparams())?;
    let training = trainer.training(loader(&script), loader(&Script::default()));
    trainer.fit_with(set_up(training), learner(script), strategy)
}
