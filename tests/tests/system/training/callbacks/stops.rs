//! A run that a callback ends.

use std::path::Path;
use std::sync::Arc;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn::train::{Learner, RegressionOutput};
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, GradientGuard, NonFinite};
use burn_trainer::config::Validation;
use burn_trainer::strategy::{OnException, StrategyConfig};
use burn_trainer::{EndReason, Error, RunOutcome, Trainer, TrainerConfig};
use parking_lot::Mutex;
use serde_json::Value;
use system_tests::backend;
use system_tests::models::small::{
    Model, Poison, Script, StopOnceAt, config, learner, loader, stopper, train, train_by,
};
use system_tests::run_files::{checkpoints, compare, described_state, in_memory, run_dir};

/// Ends the run at a step, also one that has come that far before.
struct StopAt(u64);

impl Callback<Model> for StopAt {
    fn name(&self) -> String {
        "stop_at".to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.on_train_step_end(context)
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        if context.global_step() >= self.0 {
            context.stop(format!("step {} is done", self.0));
        }
        Ok(())
    }
}

/// Ends the run in the batches with a number, and asks for it that one time.
struct StopInBatch(u64);

impl Callback<Model> for StopInBatch {
    fn name(&self) -> String {
        "stop_in_batch".to_owned()
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        _: &RegressionOutput,
    ) -> CallbackResult {
        if (context.epoch(), context.batch()) == (0, self.0) {
            context.stop("this batch is the last");
        }
        Ok(())
    }
}

/// A rate for each of so many steps, and a panic at the next.
#[derive(Clone)]
struct Rates(usize);

impl LrScheduler for Rates {
    fn step(&mut self) -> f64 {
        self.0 = self.0.checked_sub(1).expect("told to panic");
        1e-2
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}

/// Notes after each step and each epoch whether it could end the run.
struct NotingWhetherItCan(Arc<Mutex<Vec<(&'static str, bool)>>>);

impl Callback<Model> for NotingWhetherItCan {
    fn name(&self) -> String {
        "noting_whether_it_can".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push(("step", context.can_stop()));
        Ok(())
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push(("validation", context.can_stop()));
        Ok(())
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.0.lock().push(("epoch", context.can_stop()));
        Ok(())
    }
}

#[test]
fn it_can_tell_whether_it_comes_too_early() {
    let noted = |limits: fn(TrainerConfig) -> TrainerConfig| {
        let (root, noted) = (in_memory(), Arc::default());
        let callback = NotingWhetherItCan(Arc::clone(&noted));
        let config = limits(config(root.path(), 2));
        train_by(config, Script::default(), |trainer| trainer.callback(callback)).unwrap();
        let noted = noted.lock().clone();
        let of = |of: &str| -> Vec<bool> {
            noted.iter().filter(|(event, _)| *event == of).map(|(_, can)| *can).collect()
        };
        [of("step"), of("validation"), of("epoch")]
    };
    let steps = |from: usize| (1..=20).map(|step| step >= from).collect::<Vec<_>>();
    assert_eq!(noted(|config| config), [steps(1), vec![true; 2], vec![true; 2]]);
    let by_steps = noted(|config| config.with_min_steps(13));
    assert_eq!(by_steps, [steps(13), vec![false, true], vec![false, true]]);
    // The first epoch is done with its validation.
    let by_epochs = noted(|config| config.with_min_epochs(1));
    assert_eq!(by_epochs, [steps(11), vec![true; 2], vec![true; 2]]);
}

#[test]
fn a_request_that_comes_too_early_is_dropped_and_one_in_the_last_step_counts_at_the_epochs_end() {
    for (step, ended_at) in [(9, 20), (10, 10)] {
        let root = in_memory();
        let config = config(root.path(), 2).with_min_epochs(1);
        let result =
            train_by(config, Script::default(), |trainer| trainer.callback(StopOnceAt(step))).unwrap();
        assert_eq!((result.global_step, result.outcome.end_reason().is_some()), (ended_at, step == 10));
    }
}

#[test]
fn a_stop_of_the_program_in_the_last_step_saves_no_state_that_the_end_does_not() {
    for is_stopped in [false, true] {
        let (root, script) = (in_memory(), Script::default());
        let config =
            config(root.path(), 5).with_strategies([StrategyConfig::OnException(OnException::new())]);
        let trainer = Trainer::new(config, &script.hparams()).unwrap().callback(StopOnceAt(14));
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let at_step = is_stopped.then(|| (14, stopper(training.interrupter(), false)));
        let result = trainer.fit(training, learner(Script { at_step, ..script })).unwrap();
        assert!(result.global_step == 14 && result.outcome.end_reason().is_some());
        assert!(result.checkpoints.is_empty(), "{is_stopped}: {:?}", result.checkpoints);
    }
}

#[test]
fn a_stop_of_the_program_in_the_same_step_does_not_come_before_it() {
    let ended = |root: &Path, is_stopped: bool| {
        let script = Script::default();
        let trainer = Trainer::new(config(root, 5), &script.hparams()).unwrap().callback(StopOnceAt(14));
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let at_step = is_stopped.then(|| (14, stopper(training.interrupter(), false)));
        let result = trainer.fit(training, learner(Script { at_step, ..script })).unwrap();
        let last = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
        let state: Value = last.trainer_state().unwrap();
        (result.global_step, result.outcome, state["ended"].clone(), state["ended_because"].clone())
    };
    let (whole, stopped) = (in_memory(), in_memory());
    let expected = ended(whole.path(), false);
    assert!(expected.0 == 14 && expected.2 == "done", "{expected:?}");
    assert_eq!(ended(stopped.path(), true), expected);
    compare(&run_dir(whole.path()), &run_dir(stopped.path())).unwrap();
}

#[test]
fn a_request_stands_after_a_failure_in_the_validation_of_its_step() {
    // At the end of an epoch, and within one.
    for (step, settings) in [
        (10, (|config| config) as fn(TrainerConfig) -> TrainerConfig),
        (14, |config| config.with_validation(Validation::every_n_steps(7))),
    ] {
        let (whole, parts) = (in_memory(), in_memory());
        let with = |root: &Path, script: Script| {
            let config = settings(config(root, 5)).with_ckpt_path("auto");
            train_by(config, script, |trainer| trainer.callback(StopOnceAt(step)))
        };
        assert_eq!(with(whole.path(), Script::default()).unwrap().global_step, step);
        let panic_in_validation = Some(if step == 10 { 3 } else { 13 });
        with(parts.path(), Script { panic_in_validation, ..Script::default() }).unwrap_err();
        // Also in a program whose callback would not ask for it any more.
        let result = train(settings(config(parts.path(), 5)).with_ckpt_path("auto")).unwrap();
        let (name, reason) = ("stop_once_at".to_owned(), "this step is the last".to_owned());
        assert_eq!(result.outcome.end_reason(), Some(&EndReason::Callback { name, reason }), "step {step}");
        compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
        // Its end is reached. Started once more, the run continues.
        assert_eq!(train(config(parts.path(), 2).with_ckpt_path("auto")).unwrap().global_step, 20);
    }
}

#[test]
fn a_request_whose_step_fails_is_not_in_the_state_before_it() {
    let (whole, parts) = (in_memory(), in_memory());
    let with = |root: &Path, rates: usize| {
        let script = Script::default();
        let config = config(root, 2).with_ckpt_path("auto");
        let trainer = Trainer::new(config, &script.hparams()).unwrap().callback(StopInBatch(4));
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let model = Model::new(script, &backend::device().autodiff());
        trainer.fit(training, Learner::new(model, AdamConfig::new().init(), Rates(rates)))
    };
    assert_eq!(with(whole.path(), 20).unwrap().global_step, 4);
    // The request is made in a batch whose step panics.
    assert!(matches!(with(parts.path(), 3), Err(Error::Panicked { saved: Some(_), .. })));
    assert_eq!(with(parts.path(), 20).unwrap().global_step, 4);
    let last = |root: &Path| described_state(&checkpoints(root).join("last.ckpt"));
    assert_eq!(last(whole.path()), last(parts.path()));
}

#[test]
fn a_stop_of_the_program_in_a_step_that_is_left_out_does_not_come_before_it() {
    let ended = |root: &Path, is_stopped: bool| {
        let script = Script::default();
        let skip = NonFinite::Skip { most_in_a_row: 2 };
        let trainer = Trainer::new(config(root, 5), &script.hparams())
            .unwrap()
            .callback(Poison::new(&[(0, 4)], f32::INFINITY))
            .callback(GradientGuard::new().with_non_finite(skip))
            .callback(StopInBatch(4));
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let at_step = is_stopped.then(|| (4, stopper(training.interrupter(), false)));
        let result = trainer.fit(training, learner(Script { at_step, ..script })).unwrap();
        assert!(result.global_step == 3 && result.outcome.end_reason().is_some(), "{is_stopped}");
    };
    let (whole, stopped) = (in_memory(), in_memory());
    ended(whole.path(), false);
    ended(stopped.path(), true);
    compare(&run_dir(whole.path()), &run_dir(stopped.path())).unwrap();
}

/// Notes how the run ended.
#[derive(Clone, Default)]
struct NotingOutcome(Arc<Mutex<Option<RunOutcome>>>);

impl Callback<Model> for NotingOutcome {
    fn name(&self) -> String {
        "noting_outcome".to_owned()
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        *self.0.lock() = context.ended().map(|ended| ended.outcome.clone());
        Ok(())
    }
}

#[test]
fn a_callback_sees_the_outcome_that_the_result_has() {
    let ended = |settings: fn(TrainerConfig) -> TrainerConfig, stops: bool| {
        let (root, noting, script) = (in_memory(), NotingOutcome::default(), Script::default());
        let config = settings(config(root.path(), 2));
        let trainer = Trainer::new(config, &script.hparams()).unwrap().callback(noting.clone());
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let at_step = stops.then(|| (14, stopper(training.interrupter(), false)));
        let result = trainer.fit(training, learner(Script { at_step, ..script })).unwrap();
        assert_eq!(noting.0.lock().as_ref(), Some(&result.outcome));
        result.outcome
    };
    assert_eq!(ended(|config| config, false), RunOutcome::Done(None));
    let limited = ended(|config| config.with_max_steps(4), false);
    assert_eq!(limited, RunOutcome::Done(Some(EndReason::MaxSteps(4))));
    assert!(limited.is_done() && !limited.is_stopped() && !limited.is_early_stop());
    let stopped = ended(|config| config, true);
    let reason = "the test called stop".to_owned();
    assert_eq!(stopped, RunOutcome::Stopped { reason, signal: None });
    assert!(stopped.is_stopped() && stopped.end_reason().is_none() && stopped.signal().is_none());
}

#[test]
fn it_ends_as_done_with_its_state_saved() {
    for (step, epochs) in [(14, 1), (20, 2), (1, 0)] {
        let root = in_memory();
        let settings = || config(root.path(), 5).with_ckpt_path("auto");
        let result =
            train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(step))).unwrap();
        assert_eq!((result.global_step, result.epochs), (step, epochs));
        let (name, reason) = ("stop_at".to_owned(), format!("step {step} is done"));
        assert_eq!(result.outcome.end_reason(), Some(&EndReason::Callback { name, reason }));
        assert!(result.outcome.is_done() && !result.finished_before);
        let last = checkpoints(root.path()).join("last.ckpt");
        assert_eq!(Checkpoint::open(&last).unwrap().verify().unwrap().global_step, step);
        // Started again, there is nothing to do.
        let again =
            train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(step))).unwrap();
        assert!(again.finished_before && again.global_step == step);
        // With a later end it continues as if it had never stopped.
        train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(33))).unwrap();
        let whole = in_memory();
        train_by(config(whole.path(), 5), Script::default(), |trainer| trainer.callback(StopAt(33))).unwrap();
        let last = |root: &Path| {
            let path = checkpoints(root).join("last.ckpt");
            let metadata = Checkpoint::open(path).unwrap().verify().unwrap();
            (metadata.global_step, metadata.tensors, metadata.metrics)
        };
        assert_eq!(last(root.path()), last(whole.path()));
        assert!(run_dir(root.path()).join("train/epoch-4").exists());
    }
}
