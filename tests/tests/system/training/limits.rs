//! Limits by steps, time and batches: what is trained, how the run ends, and that it resumes exactly.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::data::dataloader::DataLoaderBuilder;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, RegressionOutput, SupervisedTraining};
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use burn_trainer::config::{BatchLimit, Validation};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{EndReason, Error, FitResult, Result, RunOutcome, Trainer, TrainerConfig};
use parking_lot::Mutex;
use serde_json::Value;
use system_tests::backend;
use system_tests::models::small::{
    AlwaysStops, BATCH, ItemBatcher, Model, Script, ScriptedMetric, config, items, learner, shuffling,
    stopping_after, train, train_by, train_from, train_scripted, train_with, train_with_strategy,
};
use system_tests::run_files::{checkpoints, compare, in_memory, run_dir};

fn root() -> tempfile::TempDir {
    in_memory()
}

fn wrong_setting<T>(result: Result<FitResult<T>>) -> String {
    match result {
        Err(Error::Config { setting, .. }) => setting,
        other => panic!("{:?}", other.map(|result| result.global_step)),
    }
}

/// The lines of a metric file of an epoch, without its final value.
fn batches(root: &Path, split: &str, epoch: u64) -> usize {
    let file = run_dir(root).join(split).join(format!("epoch-{epoch}")).join("Loss.log");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.ends_with(",final")).count()
}

#[test]
fn a_run_ends_as_done_at_so_many_steps_and_continues_with_more() {
    for (steps, epochs) in [(4, 0), (10, 1), (15, 1), (30, 3)] {
        let (parts, whole) = (root(), root());
        let with = |root: &Path, steps: u64| config(root, 5).with_max_steps(steps).with_ckpt_path("auto");
        let result = train(with(parts.path(), steps)).unwrap();
        assert_eq!((result.global_step, result.epochs), (steps, epochs));
        let reason = result.outcome.end_reason().unwrap();
        assert_eq!(*reason, EndReason::MaxSteps(steps));
        assert_eq!(reason.to_string(), format!("max_steps: {steps} optimizer steps are done"));
        assert!(result.outcome.is_done() && !result.outcome.is_early_stop());
        let last = Checkpoint::open(checkpoints(parts.path()).join("last.ckpt")).unwrap();
        assert_eq!(last.verify().unwrap().global_step, steps);
        assert_eq!(last.trainer_state::<Value>().unwrap()["ended_because"], reason.to_string());
        let again = train(with(parts.path(), steps)).unwrap();
        assert!(again.finished_before && again.outcome.end_reason().is_some() && again.global_step == steps);
        train(with(parts.path(), 42)).unwrap();
        train(with(whole.path(), 42)).unwrap();
        let last = |root: &Path| {
            let metadata = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap().verify().unwrap();
            (metadata.global_step, metadata.tensors, metadata.metrics)
        };
        assert_eq!(last(parts.path()), last(whole.path()), "{steps}");
    }
}

#[test]
fn a_limit_that_falls_on_the_end_of_the_last_epoch_has_not_ended_the_run() {
    type SetUp = fn(TrainerConfig) -> TrainerConfig;
    let limits: [SetUp; 2] = [
        |config| config.with_max_steps(20),
        |config| config.with_max_time(Duration::from_nanos(1)).with_limit_train_batches(1).with_max_epochs(1),
    ];
    for limit in limits {
        let root = root();
        let config = limit(config(root.path(), 2));
        let epochs = config.max_epochs as u64;
        let result = train(config).unwrap();
        assert_eq!((result.epochs, result.outcome), (epochs, RunOutcome::Done(None)));
        let last = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
        let state = last.trainer_state::<Value>().unwrap();
        assert_eq!((&state["ended"], &state["ended_because"]), (&"done".into(), &Value::Null));
    }
}

#[test]
fn a_limit_in_the_last_step_of_an_epoch_has_its_validation_also_after_a_failure_there() {
    let (whole, parts) = (root(), root());
    let limited = |root: &Path| config(root, 5).with_max_steps(10).with_ckpt_path("auto");
    assert_eq!(train(limited(whole.path())).unwrap().epochs, 1);
    let failing = Script { panic_in_validation: Some(3), ..Script::default() };
    assert!(train_by(limited(parts.path()), failing, |trainer| trainer).is_err());
    let result = train(limited(parts.path())).unwrap();
    assert_eq!((result.epochs, result.global_step, result.finished_before), (1, 10, false));
    compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
    // The state of the last step, without its validation.
    let parts = root();
    let failing = Script { panic_in_validation: Some(1), ..Script::default() };
    assert!(train_by(limited(parts.path()), failing, |trainer| trainer).is_err());
    assert_eq!(train(limited(parts.path())).unwrap().epochs, 1);
}

#[test]
fn a_run_ends_after_its_time() {
    let root = root();
    let config = config(root.path(), 5).with_max_time(Duration::from_nanos(1)).with_ckpt_path("auto");
    let result = train(config.clone()).unwrap();
    assert_eq!(result.global_step, 1);
    assert_eq!(result.outcome.end_reason(), Some(&EndReason::MaxTime(Duration::from_nanos(1))));
    assert!(train(config).unwrap().finished_before);
}

#[test]
fn an_epoch_has_so_many_batches_and_resumes_within_them() {
    let (whole, part) = (root(), root());
    let limited = |root: &Path| config(root, 3).with_limit_train_batches(4).with_limit_valid_batches(2);
    let result = train(limited(whole.path())).unwrap();
    assert_eq!((result.global_step, result.epochs), (12, 3));
    for epoch in 1..=3 {
        assert_eq!((batches(whole.path(), "train", epoch), batches(whole.path(), "valid", epoch)), (4, 2));
    }
    for step in [3, 4, 5, 10] {
        let part = if step == 3 { &part } else { &root() };
        let failing = Script { panic_in_step: Some(step), ..Script::default() };
        assert!(train_by(limited(part.path()), failing, |trainer| trainer).is_err());
        train(limited(part.path()).with_ckpt_path("auto")).unwrap();
        compare(&run_dir(whole.path()), &run_dir(part.path()))
            .unwrap_or_else(|reason| panic!("{step}: {reason}"));
    }
}

type EpochAndTargets = (u64, Vec<f32>);

/// Notes the targets of each batch.
struct Targets(Arc<Mutex<Vec<EpochAndTargets>>>);

impl Callback<Model> for Targets {
    fn name(&self) -> String {
        "targets".to_owned()
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        output: &RegressionOutput,
    ) -> CallbackResult {
        let targets = output.targets.clone().into_data().iter::<f32>().collect();
        self.0.lock().push((context.epoch(), targets));
        Ok(())
    }
}

#[test]
fn overfitting_has_the_same_batches_in_each_epoch() {
    let seen = |overfits: bool| {
        let (root, targets) = (root(), Arc::default());
        let config = match overfits {
            true => config(root.path(), 3).with_overfit_batches(2),
            false => config(root.path(), 3).with_limit_train_batches(2),
        };
        let trainer = Trainer::new(config, &()).unwrap().callback(Targets(Arc::clone(&targets)));
        let data = || shuffling(8);
        let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
        assert_eq!(trainer.fit(training, learner(Script::default())).unwrap().global_step, 6);
        let by_epoch = |epoch: u64| {
            let targets = targets.lock();
            targets
                .iter()
                .filter(|(of, _)| *of == epoch)
                .map(|(_, targets)| targets.clone())
                .collect::<Vec<_>>()
        };
        [by_epoch(0), by_epoch(1), by_epoch(2)]
    };
    let [first, second, third] = seen(true);
    assert!(first.len() == 2 && first == second && second == third);
    let [first, second, _] = seen(false);
    assert_ne!(first, second);
}

#[test]
fn a_fraction_of_the_batches_is_rounded_up() {
    let root = root();
    // Of ten.
    let config = config(root.path(), 2).with_limit_train_batches(0.25).with_limit_valid_batches(0.11);
    let data = || shuffling(8);
    let with_loss = |training: SupervisedTraining<Model>| training.metrics((LossMetric::new(),));
    let result = train_from(config, &data, learner(Script::default()), with_loss).unwrap();
    assert_eq!(result.global_step, 6);
    assert_eq!((batches(root.path(), "train", 2), batches(root.path(), "valid", 2)), (3, 2));
}

#[test]
fn without_validation_nothing_can_be_ranked_by_it() {
    let root = root();
    let without = || config(root.path(), 2).with_limit_valid_batches(0);
    assert_eq!(wrong_setting(train(without())), "limit_valid_batches");
    let result = train(without().with_primary_metric("train_loss")).unwrap();
    assert_eq!(result.epochs, 2);
    assert!(!result.metrics.contains_key("val_loss"), "{:?}", result.metrics);
    assert!(checkpoints(root.path()).join("best_train_loss.ckpt").exists());
}

#[test]
fn without_validation_only_what_uses_its_metrics_is_an_error_and_before_the_first_step() {
    type SetUp = fn(TrainerConfig) -> TrainerConfig;
    let last = || StrategyConfig::Last(Last::new());
    let others: [SetUp; 3] = [
        |config| config.with_best(Best::new().with_metric("train_loss")),
        |config| config.with_checkpoint_saving(false),
        |config| config.with_strategies([StrategyConfig::Last(Last::new())]),
    ];
    let without = |root: &Path, set_up: SetUp| set_up(config(root, 2).with_limit_valid_batches(0));
    for set_up in others {
        let root = root();
        assert_eq!(train(without(root.path(), set_up)).unwrap().epochs, 2);
        // The metric of such a setting still has to be there.
        let unknown = without(root.path(), set_up).with_primary_metric("val_los").with_overwrite(true);
        assert!(matches!(train(unknown), Err(Error::UnknownMetric { .. })));
    }
    let named = || Last::new().with_filename("{epoch}-{val_loss:.3}");
    let by_name = |root: &Path| config(root, 2).with_primary_metric("train_loss");
    let (of_last, of_best) = (root(), root());
    let cases = [
        (by_name(of_last.path()).with_limit_valid_batches(0).with_last(named()), "last.filename"),
        (
            by_name(of_best.path())
                .with_validation(Validation::every_n_epochs(3))
                .with_strategies([last(), StrategyConfig::Best(Best::new().with_filename("{val_loss}"))]),
            "strategies.1.filename",
        ),
    ];
    for (config, expected) in cases {
        // Were a step to be taken, it would panic.
        let script = Script { panic_in_step: Some(1), ..Script::default() };
        assert_eq!(wrong_setting(train_scripted(config, script)), expected);
    }
}

#[test]
fn neither_early_stopping_nor_a_callback_ends_the_run_before_so_many_epochs() {
    let roots = [root(), root()];
    let config =
        |position: usize| config(roots[position].path(), 5).with_min_epochs(3).with_ckpt_path("auto");
    let result = train_by(config(0), Script::default(), |trainer| trainer.callback(AlwaysStops)).unwrap();
    let reason = result.outcome.end_reason().map(|reason| reason.to_string());
    assert_eq!((result.epochs, reason.as_deref()), (3, Some("at once")));
    let stopping = |training: SupervisedTraining<Model>| {
        let score = ScriptedMetric::new("Score", &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let stopping = stopping_after(1, &score);
        training.metrics((LossMetric::new(),)).metric_valid_numeric(score).early_stopping(stopping)
    };
    let result = train_with(config(1), Script::default(), stopping).unwrap();
    assert_eq!((result.epochs, result.outcome.is_early_stop()), (3, true));
    assert!(train_with(config(1), Script::default(), stopping).unwrap().finished_before);
}

#[test]
fn neither_early_stopping_nor_a_callback_ends_the_run_before_so_many_steps() {
    let roots = [root(), root(), root()];
    let config =
        |position: usize| config(roots[position].path(), 5).with_min_steps(25).with_ckpt_path("auto");
    let result = train_by(config(0), Script::default(), |trainer| trainer.callback(AlwaysStops)).unwrap();
    assert_eq!((result.global_step, result.epochs), (25, 2));
    assert_eq!(result.outcome.end_reason().map(|reason| reason.to_string()).as_deref(), Some("at once"));
    // Of the two the later one counts.
    let both = config(1).with_min_epochs(4);
    let result = train_by(both, Script::default(), |trainer| trainer.callback(AlwaysStops)).unwrap();
    assert_eq!((result.global_step, result.epochs), (40, 4));
    let stopping = |training: SupervisedTraining<Model>| {
        let score = ScriptedMetric::new("Score", &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let stopping = stopping_after(1, &score);
        training.metrics((LossMetric::new(),)).metric_valid_numeric(score).early_stopping(stopping)
    };
    let by_burns = || train_with(config(2), Script::default(), stopping).unwrap();
    let result = by_burns();
    assert_eq!((result.global_step, result.outcome.is_early_stop()), (30, true));
    assert!(by_burns().finished_before);
}

#[test]
fn a_run_that_resumes_within_an_epoch_does_not_end_by_what_came_before_the_least_number_of_steps() {
    let root = root();
    let config = |max_steps| {
        config(root.path(), 9).with_min_steps(25).with_max_steps(max_steps).with_ckpt_path("auto")
    };
    let trained = |max_steps, scores: &[f64]| {
        let score = ScriptedMetric::new("Score", scores);
        let stopping = stopping_after(1, &score);
        let set_up = |training: SupervisedTraining<Model>| {
            training.metrics((LossMetric::new(),)).metric_valid_numeric(score).early_stopping(stopping)
        };
        train_with(config(max_steps), Script::default(), set_up).unwrap()
    };
    // It would have stopped after step 20, and trains to step 27, in the next epoch.
    let result = trained(27, &[1.0, 2.0, 3.0]);
    assert_eq!((result.global_step, result.outcome.is_early_stop()), (27, false));
    // Step 20 was too early, also seen from step 27.
    let result = trained(60, &[3.0, 4.0]);
    assert!(result.global_step == 30 && result.outcome.is_early_stop() && !result.finished_before);
}

#[test]
fn limits_that_cannot_be_are_errors_that_name_the_setting() {
    let with = |change: fn(TrainerConfig) -> TrainerConfig| {
        let root = root();
        wrong_setting(train(change(config(root.path(), 2))))
    };
    assert_eq!(with(|c| c.with_max_steps(0)), "max_steps");
    assert_eq!(with(|c| c.with_max_time(Duration::ZERO)), "max_time");
    assert_eq!(with(|c| c.with_min_epochs(3)), "min_epochs");
    assert_eq!(with(|c| c.with_min_steps(6).with_max_steps(5)), "min_steps");
    assert_eq!(with(|c| c.with_limit_train_batches(0)), "limit_train_batches");
    assert_eq!(with(|c| c.with_limit_train_batches(1.5)), "limit_train_batches");
    assert_eq!(with(|c| c.with_limit_train_batches(f64::NAN)), "limit_train_batches");
    assert_eq!(with(|c| c.with_limit_valid_batches(-0.1)), "limit_valid_batches");
    assert_eq!(with(|c| c.with_overfit_batches(0.0)), "overfit_batches");
    assert_eq!(with(|c| c.with_overfit_batches(1).with_limit_train_batches(1)), "limit_train_batches");
    let root = root();
    let burns = || DataLoaderBuilder::new(ItemBatcher).batch_size(4).build(items());
    let with_loss = |training: SupervisedTraining<Model>| training.metrics((LossMetric::new(),));
    let limited =
        |limit: BatchLimit| config(root.path(), 1).with_limit_train_batches(limit).with_overwrite(true);
    let fit = |limit| train_from(limited(limit), &|| burns(), learner(Script::default()), with_loss);
    assert_eq!(wrong_setting(fit(BatchLimit::Fraction(0.5))), "limit_train_batches");
    assert_eq!(fit(BatchLimit::Count(3)).unwrap().global_step, 3);
    let strategy = || ExecutionStrategy::single(backend::device().autodiff());
    assert_eq!(
        wrong_setting(train_with_strategy(limited(BatchLimit::Count(3)), strategy())),
        "limit_train_batches"
    );
    let keeping = config(root.path(), 1).with_keep_effective_batch(true).with_overwrite(true);
    assert_eq!(wrong_setting(train_with_strategy(keeping, strategy())), "keep_effective_batch");
}

#[test]
fn the_steps_of_the_whole_run_are_known_before_it() {
    for (limit, max_steps, accumulation) in
        [(None, None, 1), (Some(7), None, 2), (Some(7), Some(5), 2), (None, None, 4), (Some(99), None, 4)]
    {
        let (root, script) = (root(), Script::default());
        let mut config = config(root.path(), 2);
        config.limit_train_batches = limit.map(BatchLimit::Count);
        config.max_steps = max_steps;
        let trainer: Trainer<Model> = Trainer::new(config, &script.hparams()).unwrap();
        let loader = shuffling(BATCH);
        let steps = trainer.optimizer_steps(&*loader, accumulation).unwrap();
        let training = trainer.training(loader, shuffling(BATCH)).metrics((LossMetric::new(),));
        let training = training.grads_accumulation(accumulation);
        let result = trainer.fit(training, learner(script)).unwrap();
        assert_eq!(result.global_step, steps, "{limit:?} {max_steps:?} {accumulation}");
    }
    let root = root();
    let trainer: Trainer<Model> = Trainer::new(config(root.path(), 1), &Script::default().hparams()).unwrap();
    let burns = DataLoaderBuilder::new(ItemBatcher).batch_size(BATCH).build(items());
    let Err(Error::Config { reason, .. }) = trainer.optimizer_steps(&*burns, 1) else { panic!() };
    assert!(reason.contains("how many batches"), "{reason}");
}
