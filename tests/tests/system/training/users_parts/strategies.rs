//! Strategies and metrics of a user's own: what they are shown, and a strategy that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::panicked;
use burn::tensor::TensorReadError;
use burn::train::SupervisedTraining;
use burn::train::metric::{
    LossMetric, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use burn_trainer::burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{
    CheckpointOutput, Last, OnException, RunProgress, SaveDecision, Strategy, StrategyConfig, TrainingEvent,
};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Script, learner, loader, stopper};
use system_tests::run_files::{checkpoints, in_memory, metadata, stems};
use system_tests::{backend, config};

/// A strategy that saves nothing and does something at each event.
struct Asked<F>(F);

impl<F: FnMut(&TrainingEvent<'_>, &RunProgress<'_>) + Send> Strategy for Asked<F> {
    fn name(&self) -> String {
        "asked".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new("asked")
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        (self.0)(event, progress);
        SaveDecision::Skip
    }
}

/// A metric whose value is the number of batches in the epoch so far.
#[derive(Clone, Default)]
struct Count(usize);

impl Metric for Count {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Count".to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: true }.into()
    }

    fn update(
        &mut self,
        (): &(),
        _: &MetricMetadata,
    ) -> std::result::Result<SerializedEntry, TensorReadError> {
        self.0 += 1;
        // The loop could be steps ahead by now.
        std::thread::yield_now();
        Ok(SerializedEntry::new(self.0.to_string(), self.0.to_string()))
    }

    fn compute(&mut self) -> std::result::Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(self.0.to_string(), self.final_value().serialize()))
    }

    fn clear(&mut self) {
        self.0 = 0;
    }
}

impl Numeric for Count {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.0 as f64))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.0 as f64)
    }
}

fn fit(
    config: TrainerConfig,
    script: Script,
    strategy: impl Strategy + 'static,
    set_up: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &script.hparams())?.strategy(strategy);
    let training =
        trainer.training(loader(&script), loader(&Script::default())).metrics((LossMetric::new(),));
    trainer.fit(set_up(training), learner(script))
}

#[test]
fn the_metrics_shown_at_a_step_are_those_of_the_step() {
    let root = in_memory();
    let shown: Arc<Mutex<Vec<(u64, f64)>>> = Arc::default();
    let seen = Arc::clone(&shown);
    let strategy = Asked(move |event: &TrainingEvent<'_>, progress: &RunProgress<'_>| {
        if *event == TrainingEvent::StepEnd {
            seen.lock().push((progress.step, progress.metrics()["train_count"]));
        }
    });
    let script = Script { batches: Some(60), ..Script::default() };
    fit(config(root.path(), 1), script, strategy, |training| {
        training.metric_train_numeric(Count::default()).grads_accumulation(2)
    })
    .unwrap();
    let expected: Vec<_> = (1..30).map(|step| (step, 2.0 * step as f64)).collect();
    assert_eq!(*shown.lock(), expected);
}

#[test]
fn a_strategy_that_panics_is_named_and_keeps_no_other_from_saving() {
    type Panics = fn(&TrainingEvent<'_>) -> bool;
    let at: [(Panics, u64); 3] = [
        (|_| true, 1),
        (|event| *event == TrainingEvent::ValidationEnd, 10),
        (|event| *event == TrainingEvent::EpochEnd, 10),
    ];
    for (panics, step) in at {
        let root = in_memory();
        let panics_so_far = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&panics_so_far);
        let strategy = Asked(move |event: &TrainingEvent<'_>, _: &RunProgress<'_>| {
            if panics(event) {
                counted.fetch_add(1, Ordering::SeqCst);
                panic!("it has no idea");
            }
        });
        let last = StrategyConfig::Last(Last::new().with_every_n_steps(1));
        let config =
            config(root.path(), 2).with_strategies([last, StrategyConfig::OnException(OnException::new())]);
        let (message, saved) = panicked(fit(config, Script::default(), strategy, |training| training));
        assert_eq!(message, "the strategy asked panicked: it has no idea");
        assert_eq!(panics_so_far.load(Ordering::SeqCst), 1, "it is not called again");
        let saved = metadata(&saved.unwrap());
        // The save of the event itself, which has the state: no second file is written.
        assert_eq!((&saved["reason"], &saved["global_step"]), (&"last".into(), &step.into()));
        assert_eq!(stems(&checkpoints(root.path()).join("last")), [format!("epoch=0-step={step}")]);
        assert!(!checkpoints(root.path()).join("on_exception").exists());
    }
}

#[test]
fn the_state_of_a_strategy_that_panics_is_saved_where_no_other_saves_it() {
    let root = in_memory();
    let strategy = Asked(|_: &TrainingEvent<'_>, _: &RunProgress<'_>| panic!("it has no idea"));
    let config = config(root.path(), 2).with_strategies([StrategyConfig::OnException(OnException::new())]);
    let (message, saved) = panicked(fit(config, Script::default(), strategy, |training| training));
    let saved = metadata(&saved.unwrap());
    assert_eq!(saved["reason"], format!("exception: {message}"));
    assert_eq!(saved["global_step"], 1);
}

#[test]
fn a_strategy_that_panics_at_the_end_does_not_hide_the_end() {
    let panics = |event: &TrainingEvent<'_>, _: &RunProgress<'_>| {
        assert!(
            !matches!(event, TrainingEvent::Exception(_) | TrainingEvent::Interrupted(_)),
            "it has no idea"
        );
    };
    let root = in_memory();
    let script = Script { panic_in_step: Some(7), ..Script::default() };
    let (message, saved) = panicked(fit(config(root.path(), 2), script, Asked(panics), |training| training));
    assert_eq!(message, "the step 7 was told to panic");
    assert_eq!(metadata(&saved.unwrap())["global_step"], 6);

    let root = in_memory();
    let trainer = Trainer::new(config(root.path(), 2), &()).unwrap().strategy(Asked(panics));
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let at_step = Some((5, stopper(training.interrupter(), false)));
    let learner = learner(Script { at_step, ..Script::default() });
    let (message, _) = panicked(trainer.fit(training.metrics((LossMetric::new(),)), learner));
    assert!(message.contains("it has no idea"), "{message}");
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=5"]);
}

#[test]
fn in_a_loop_of_burns_the_others_save_too() {
    let root = in_memory();
    let panics = |_: &TrainingEvent<'_>, _: &RunProgress<'_>| panic!("it has no idea");
    let trainer = Trainer::new(config(root.path(), 3), &()).unwrap().strategy(Asked(panics));
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let strategy = burn::train::ExecutionStrategy::single(backend::device().autodiff());
    let result =
        trainer.fit_with(training.metrics((LossMetric::new(),)), learner(Script::default()), strategy);
    let (message, _) = panicked(result);
    assert_eq!(message, "the strategy asked panicked: it has no idea");
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10"]);
}
