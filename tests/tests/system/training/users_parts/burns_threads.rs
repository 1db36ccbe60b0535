//! Loggers, metrics and renderers of a user's own that panic on a thread of burn's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::panicked;
use burn::tensor::TensorReadError;
use burn::train::SupervisedTraining;
use burn::train::logger::{MetricLogger, TrainingProgressLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{
    LossMetric, Metric, MetricDefinition, MetricMetadata, MetricName, NumericEntry, SerializedEntry,
};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use system_tests::config;
use system_tests::models::small::{Model, Script, ScriptedMetric, stopping_after, train_with};
use system_tests::run_files::in_memory;

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

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
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

    fn update(&mut self, (): &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        Self::update(self);
        Ok(SerializedEntry::new(String::new(), String::new()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
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
                let root = in_memory();
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
