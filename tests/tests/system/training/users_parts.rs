//! Strategies, metrics, loggers and renderers of a user's own: what they are shown, and what becomes of their
//! panics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::TensorReadError;
use burn::train::SupervisedTraining;
use burn::train::logger::{MetricLogger, TrainingProgressLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{
    LossMetric, Metric, MetricAttributes, MetricDefinition, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn_trainer::burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{
    CheckpointOutput, Last, OnException, RunProgress, SaveDecision, Strategy, StrategyConfig, TrainingEvent,
};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::models::small::{
    Model, Script, ScriptedMetric, learner, loader, stopper, stopping_after, train_with,
};
use system_tests::run_files::{checkpoints, metadata, stems};
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
    let root = tempfile::tempdir().unwrap();
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

/// The message and the saved checkpoint of a panic.
fn panicked(result: Result<FitResult<Model>>) -> (String, Option<PathBuf>) {
    match result.map(|_| ()) {
        Err(Error::Panicked { message, saved }) => (message, saved),
        other => panic!("{other:?}"),
    }
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
        let root = tempfile::tempdir().unwrap();
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
    let root = tempfile::tempdir().unwrap();
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
    let root = tempfile::tempdir().unwrap();
    let script = Script { panic_in_step: Some(7), ..Script::default() };
    let (message, saved) = panicked(fit(config(root.path(), 2), script, Asked(panics), |training| training));
    assert_eq!(message, "the step 7 was told to panic");
    assert_eq!(metadata(&saved.unwrap())["global_step"], 6);

    let root = tempfile::tempdir().unwrap();
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
    let root = tempfile::tempdir().unwrap();
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

/// Where a part of the user's panics, on a thread of burn's.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Definition,
    FirstUpdate,
    FifthUpdate,
    EpochEnd,
}

/// How long a run waits for the others.
const OTHER_RUNS: Duration = Duration::from_secs(30);

/// Panics at one of its calls.
#[derive(Clone)]
struct Panicking {
    at: At,
    updates: usize,
    /// How many runs of so many have come to their panic.
    reached: (Arc<AtomicUsize>, usize),
}

impl Panicking {
    fn new(at: At, reached: (Arc<AtomicUsize>, usize)) -> Self {
        Self { at, updates: 0, reached }
    }

    fn reach(&self, at: At) {
        if self.at == at {
            // Each run sets a panic hook when it starts. While it does, the process has the standard one.
            let ((count, all), since) = (&self.reached, Instant::now());
            count.fetch_add(1, Ordering::SeqCst);
            while count.load(Ordering::SeqCst) < *all && since.elapsed() < OTHER_RUNS {
                std::thread::sleep(Duration::from_millis(1));
            }
            // The loop has nothing else to do by then, and waits for burn's thread.
            std::thread::sleep(Duration::from_millis(20));
            panic!("it was told to panic at {at:?}");
        }
    }

    fn update(&mut self) {
        self.updates += 1;
        match self.updates {
            1 => self.reach(At::FirstUpdate),
            5 => self.reach(At::FifthUpdate),
            _ => {}
        }
    }
}

impl MetricLogger for Panicking {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {
        self.update();
    }

    fn read_numeric(
        &mut self,
        _: &str,
        _: usize,
        _: &Split,
    ) -> std::result::Result<Vec<NumericEntry>, String> {
        // burn takes the answer of the run's own logger.
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {
        self.reach(At::Definition);
    }

    fn log_epoch_summary(&mut self, _: EpochSummary) {
        self.reach(At::EpochEnd);
    }
}

impl Metric for Panicking {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Panicking".to_owned())
    }

    fn update(
        &mut self,
        (): &(),
        _: &MetricMetadata,
    ) -> std::result::Result<SerializedEntry, TensorReadError> {
        Self::update(self);
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn compute(&mut self) -> std::result::Result<SerializedEntry, TensorReadError> {
        self.reach(At::EpochEnd);
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn clear(&mut self) {}
}

impl TrainingProgressLogger for Panicking {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {
        self.reach(At::Definition);
    }

    fn start_split(&mut self, _: &str, _: usize) {}

    fn update_split(&mut self, _: usize) {
        self.update();
    }

    fn update_epoch(&mut self, _: usize) {}

    fn end_split(&mut self) {
        self.reach(At::EpochEnd);
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererTraining for Panicking {
    fn update_train(&mut self, _: MetricState) {}

    fn update_valid(&mut self, _: MetricState) {}
}

impl burn::train::logger::EvaluationProgressLogger for Panicking {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Panicking {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for Panicking {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}

#[test]
fn a_panic_on_a_thread_of_burns_is_reported_with_its_own_message_and_the_state_is_saved() {
    type SetUp = fn(SupervisedTraining<Model>, Panicking) -> SupervisedTraining<Model>;
    let logger: SetUp = |training, part| training.with_metric_logger(part);
    let metric: SetUp = |training, part| training.metric_train(part);
    let progress: SetUp = |training, part| training.with_progress_logger(part);
    let renderer: SetUp = |training, part| training.renderer(Box::new(part));
    let all = [
        (logger, &[At::Definition, At::FirstUpdate, At::FifthUpdate, At::EpochEnd][..]),
        (metric, &[At::FirstUpdate, At::FifthUpdate, At::EpochEnd]),
        (progress, &[At::Definition, At::FirstUpdate, At::FifthUpdate, At::EpochEnd]),
        (renderer, &[At::Definition, At::FirstUpdate, At::FifthUpdate, At::EpochEnd]),
    ];
    let all: Vec<_> = all.iter().flat_map(|(set_up, ats)| ats.iter().map(move |at| (set_up, *at))).collect();
    let reached = (Arc::new(AtomicUsize::new(0)), all.len());
    // Each waits for values of a thread that is gone.
    std::thread::scope(|scope| {
        for (set_up, at) in all {
            let reached = reached.clone();
            scope.spawn(move || {
                let root = tempfile::tempdir().unwrap();
                let score = ScriptedMetric::new("Score", &[1.0]);
                let early = stopping_after(5, &score);
                let result = train_with(config(root.path(), 2), Script::default(), |training| {
                    let training = training.metrics((LossMetric::new(),)).metric_valid_numeric(score);
                    set_up(training.early_stopping(early), Panicking::new(at, reached))
                });
                let (message, saved) = panicked(result);
                assert_eq!(message, format!("it was told to panic at {at:?}"));
                // burn defines metrics before the first step.
                assert_eq!(saved.is_some(), at != At::Definition, "{at:?}");
            });
        }
    });
}
