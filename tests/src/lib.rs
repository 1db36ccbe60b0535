//! What the system tests share: a small model whose steps, metrics and data can be made to fail, ways to look at what
//! a run left behind, programs that run while a test looks at them, the soak, which kills runs and judges what becomes of
//! them, and Python with PyTorch as a judge of files that both read.

pub mod backend;
#[cfg(feature = "remote")]
pub mod cluster;
pub mod command;
pub mod model;
pub mod net;
pub mod orders;
pub mod process;
pub mod python;
pub mod random;
pub mod reading;
pub mod repository;
#[cfg(feature = "remote")]
pub mod server;
pub mod soak;
pub mod tree;
pub mod twin;

use std::path::Path;

use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use burn_trainer::burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};

use crate::model::{Model, Script, ScriptedMetric, learner, loader};

/// Training batches in an epoch of the small model.
pub const STEPS_PER_EPOCH: usize = 10;

/// A configuration for a run of the small model: `val_loss` is its primary metric.
#[must_use]
pub fn config(root: &Path, epochs: usize) -> TrainerConfig {
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

/// Trains the small model for an epoch a score. All of its checkpoints stay in `last`, and the `best` ones with the
/// lowest `val_score` in `best`: `epoch=0-step=10.ckpt` and so on.
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
