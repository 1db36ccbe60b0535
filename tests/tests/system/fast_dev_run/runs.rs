//! What a fast dev run does in a program, and that nothing is left of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Learner, RegressionOutput};
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, EarlyStopping, Ema, GradientGuard, ReduceOnPlateau, Restored,
};
use burn_trainer::config::Validation;
use burn_trainer::evaluation::ModelEvaluator;
use burn_trainer::lr_scheduler::scaled;
use burn_trainer::strategy::{
    Best, CheckpointOutput, KeepRule, Last, RunProgress, SaveDecision, Strategy, StrategyConfig, TopK,
    TrainingEvent,
};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::models::small::{
    Counting, Model, Script, Storing, config, learner, loader, shuffling, train, train_by, train_scripted,
    train_with_strategy,
};

/// A fast dev run of the configuration of a run that would be below this root.
fn trial(root: &Path) -> TrainerConfig {
    config(root, 5).with_fast_dev_run(true)
}

/// That nothing was written below a root, and the run's directory is gone.
fn nothing_is_left(root: &Path, run_dir: &Path) {
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 0, "{}", root.display());
    assert!(!run_dir.exists(), "{}", run_dir.display());
}

#[test]
fn one_batch_is_trained_validated_saved_and_loaded_back_and_nothing_is_left() {
    let root = tempfile::tempdir().unwrap();
    let result = train(trial(root.path())).unwrap();
    assert_eq!((result.epochs, result.global_step), (1, 1));
    assert!(result.metrics["val_loss"].is_finite());
    let names: Vec<&str> = result.checkpoints.keys().map(String::as_str).collect();
    assert_eq!(names, ["best:val_loss", "last", "fast_dev_run"]);
    let run_dir = result.run_dir.clone();
    // As long as there is a result, its checkpoints are there.
    for saved in result.checkpoints.values() {
        assert!(saved.path.starts_with(&run_dir));
        assert_eq!(Checkpoint::open(&saved.path).unwrap().verify().unwrap().global_step, 1);
    }
    let lines = std::fs::read_to_string(run_dir.join("valid/epoch-1/Loss.log")).unwrap();
    assert_eq!(lines.lines().filter(|line| !line.ends_with(",final")).count(), 1);
    drop(result);
    nothing_is_left(root.path(), &run_dir);
}

#[test]
fn each_device_is_tried_and_an_average_that_begins_later_too() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let devices = [0, 1].map(|_| system_tests::backend::device());
    let trainer: Trainer<Model> = Trainer::new(trial(root.path()), &script.hparams()).unwrap();
    let late = Ema::new(0.9).with_start_step(500).with_every_n_steps(3);
    let trainer = trainer.devices(devices).callback(late);
    let training = trainer.training(shuffling(8), shuffling(8)).metrics((LossMetric::new(),));
    let result = trainer.fit(training, learner(script)).unwrap();
    let state = Checkpoint::open(&result.last().unwrap().path).unwrap();
    let position = state.trainer_state::<serde_json::Value>().unwrap();
    assert_eq!((&position["batches"], &position["global_step"]), (&2.into(), &1.into()));
    assert_eq!(state.validated_part().unwrap().as_deref(), Some("ema"));
    let log = std::fs::read_to_string(result.run_dir.join("experiment.log")).unwrap();
    assert!(!log.contains("has averaged nothing"), "{log}");
}

/// Notes what it was asked, and stores something.
struct Asked(Arc<Mutex<Vec<&'static str>>>);

impl Callback<Model> for Asked {
    fn name(&self) -> String {
        "asked".to_owned()
    }

    fn on_train_batch_end(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        _: &RegressionOutput,
    ) -> CallbackResult {
        self.0.lock().push("batch");
        Ok(())
    }

    fn on_train_step_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push("step");
        Ok(())
    }

    fn on_validation_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push("validation");
        Ok(())
    }

    fn restore(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        _: Option<burn_trainer::callbacks::CallbackState>,
    ) -> CallbackResult<Restored> {
        self.0.lock().push("restore");
        Ok(Restored::Complete)
    }

    fn on_fit_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push("end");
        Ok(())
    }
}

#[test]
fn settings_that_are_odd_for_one_batch_do_not_make_it_fail() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let strategies = [
        StrategyConfig::Best(Best::new().with_dirpath(elsewhere.path().join("best"))),
        StrategyConfig::Last(Last::new().with_every_n_steps(1000).with_dirpath("../../up")),
        StrategyConfig::Last(Last::new().with_save_weights_only(true).with_save_symlink(false)),
    ];
    let config = trial(root.path())
        .with_min_epochs(3)
        .with_min_steps(30)
        .with_max_steps(1000)
        .with_early_stopping(EarlyStopping::new("val_loss").with_patience(1))
        .with_overfit_batches(0.5)
        .with_validation(Validation::every_n_steps(100))
        .with_ckpt_path("auto")
        .with_overwrite(true)
        .with_slurm_requeue(true)
        .with_strategies(strategies);
    let asked = Arc::default();
    let trainer = Trainer::new(config, &Script::default().hparams())
        .unwrap()
        .callback(GradientGuard::new().with_clip_norm(1.0))
        .callback(Ema::new(0.9).with_start_step(100))
        .callback(ReduceOnPlateau::new("val_loss"))
        .callback(Counting::default())
        .callback(Asked(Arc::clone(&asked)));
    let data = || shuffling(8);
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),)).grads_accumulation(4);
    let model = Model::new(Script::default(), &system_tests::backend::device().autodiff());
    let learner = Learner::new(model, AdamConfig::new().init(), scaled(1e-2));
    let result = trainer.fit(training, learner).unwrap();
    assert_eq!((result.epochs, result.global_step), (1, 1));
    assert_eq!(*asked.lock(), ["batch", "step", "validation", "restore", "end"]);
    let run_dir = result.run_dir.clone();
    drop(result);
    nothing_is_left(root.path(), &run_dir);
    nothing_is_left(elsewhere.path(), &run_dir);
}

#[test]
fn a_run_that_saves_nothing_is_saved_and_loaded_too_and_several_devices_have_one_batch() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let device = system_tests::backend::device();
    let config = trial(root.path()).with_checkpoint_saving(false);
    let trainer = Trainer::new(config, &script.hparams()).unwrap().devices([device.clone(), device.clone()]);
    let training = trainer.training(shuffling(8), shuffling(8)).metrics((LossMetric::new(),));
    let model = Model::new(script, &device.autodiff());
    let result = trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2)).unwrap();
    assert_eq!(result.checkpoints.keys().collect::<Vec<_>>(), ["fast_dev_run"]);
    assert_eq!(result.global_step, 1);
}

#[test]
fn nothing_is_left_of_one_that_fails_and_no_path_is_named_that_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let failing = Script { panic_in_step: Some(1), ..Script::default() };
    let error = train_scripted(trial(root.path()), failing).unwrap_err();
    assert!(matches!(error, Error::Panicked { saved: None, .. }), "{error}");
    let failing = Script { panic_in_validation: Some(1), ..Script::default() };
    let error = train_scripted(trial(root.path()), failing).unwrap_err();
    assert!(matches!(error, Error::Panicked { saved: None, .. }), "{error}");
    // Before the first step, and before the run is opened.
    let unknown = trial(root.path()).with_primary_metric("val_los");
    assert!(matches!(train(unknown).unwrap_err(), Error::UnknownMetric { .. }));
    let wrong = trial(root.path()).with_max_epochs(0);
    assert!(matches!(train(wrong).unwrap_err(), Error::Config { .. }));
    let trainer: Trainer<Model> = Trainer::new(trial(root.path()), &()).unwrap();
    let run_dir = trainer.run_dir().to_path_buf();
    assert!(run_dir.exists());
    drop(trainer);
    nothing_is_left(root.path(), &run_dir);
}

#[test]
fn a_state_that_no_resume_would_take_is_found() {
    let root = tempfile::tempdir().unwrap();
    let state = burn_trainer::callbacks::CallbackState::new(1);
    let storing = Storing { name: "forgetful", state };
    let result = train_by(trial(root.path()), Script::default(), |trainer| trainer.callback(storing));
    let Err(Error::Callback { name, method, .. }) = result else { panic!("it was loaded back") };
    assert_eq!((name.as_str(), method), ("forgetful", "restore"));
}

/// Saves into a directory outside of the run.
struct Elsewhere(PathBuf);

impl Strategy for Elsewhere {
    fn name(&self) -> String {
        "elsewhere".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(&self.0)
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, _: &RunProgress<'_>) -> SaveDecision {
        match event {
            TrainingEvent::StepEnd | TrainingEvent::EpochEnd => {
                SaveDecision::Save { score: f64::NAN, reason: "elsewhere".to_owned() }
            }
            _ => SaveDecision::Skip,
        }
    }
}

#[test]
fn a_strategy_of_the_programs_writes_nothing_elsewhere_either() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let strategy = Elsewhere(other.path().join("checkpoints"));
    let result =
        train_by(trial(root.path()), Script::default(), |trainer| trainer.strategy(strategy)).unwrap();
    assert!(result.checkpoints["elsewhere"].path.starts_with(&result.run_dir));
    let run_dir = result.run_dir.clone();
    drop(result);
    nothing_is_left(other.path(), &run_dir);
}

#[test]
fn its_checkpoint_is_evaluated_on_one_batch_as_the_run_would_be_on_all() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let items = |result: &FitResult<Model>, name: &str| {
        let device = system_tests::backend::device();
        let mut evaluator =
            ModelEvaluator::<Model>::of_checkpoint(&result.checkpoints[name].path, &device).unwrap();
        evaluator.evaluate(loader(&script), (LossMetric::new(),)).unwrap().items
    };
    let trial = train(trial(root.path())).unwrap();
    let run = train(config(root.path(), 1)).unwrap();
    assert_eq!((items(&trial, "last"), items(&run, "last")), (8, 80));
}

#[test]
fn a_loop_of_burns_cannot_be_tried_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let strategy = ExecutionStrategy::single(system_tests::backend::device().autodiff());
    let result: Result<FitResult<Model>> = train_with_strategy(trial(root.path()), strategy);
    let Err(Error::Config { setting, reason }) = result else { panic!("it was tried") };
    assert!(setting == "fast_dev_run" && reason.contains("Trainer::fit"), "{setting}: {reason}");
}
