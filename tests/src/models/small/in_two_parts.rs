//! A run that a panic divides in two parts, compared with an undivided run.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::train::{Learner, SupervisedTraining};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};

use super::data::Batch;
use super::model::{Model, Script, learner};
use super::training::config;
use crate::run_files::{compare, run_dir};

/// Trains a learner of the small model on data of the caller, with `SupervisedTraining` set up by the caller.
///
/// # Errors
///
/// Those of the trainer.
pub fn train_from(
    config: TrainerConfig,
    data: &dyn Fn() -> Arc<dyn DataLoader<Batch>>,
    learner: Learner<Model>,
    set_up: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &())?;
    let training = trainer.training(data(), data());
    trainer.fit(set_up(training), learner)
}

/// Trains in one go, and once for each of these steps with a panic in it and a resume, and compares what the
/// runs left.
///
/// # Panics
///
/// When the two differ, when the run does not resume from the state before the panic, or when training fails.
pub fn in_two_parts_is_as_in_one(
    data: &dyn Fn() -> Arc<dyn DataLoader<Batch>>,
    panics_in: &[usize],
    set_up: impl Fn(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) {
    let directory = || tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
    let whole = directory();
    let fit = |config: TrainerConfig| {
        train_from(config, data, learner(Script::default()), &set_up)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    fit(config(whole.path(), 3));
    for step in panics_in {
        let parts = directory();
        let failing = learner(Script { panic_in_step: Some(*step), ..Script::default() });
        assert!(train_from(config(parts.path(), 3), data, failing, &set_up).is_err());
        let result = fit(config(parts.path(), 3).with_ckpt_path("auto"));
        // The state before the failure: of on_exception, or of another strategy that had saved it already.
        assert!(result.resumed_from.is_some());
        // Only the configuration of a run says how it was started.
        let same = compare(&run_dir(whole.path()), &run_dir(parts.path()));
        same.unwrap_or_else(|reason| panic!("a panic in step {step}: {reason}"));
    }
}
