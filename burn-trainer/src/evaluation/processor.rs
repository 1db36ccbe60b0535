//! The event processor of an evaluation, which burn runs on a thread of its own: computes the metrics beside
//! the model's next step, shows them, and notes their final values.
//!
//! burn's own evaluation processor never computes a metric's final value, and hands out none. It also writes
//! metric files always, and panics where it cannot.

use std::error::Error as StdError;
use std::sync::Arc;

use burn::train::metric::{MetricId, MetricMetadata, MetricName};
use burn::train::renderer::{EvaluationName, MetricState, MetricsRenderer};
use burn::train::{EvaluationItem, EvaluatorEvent, EventProcessorError, EventProcessorEvaluation, ItemLazy};
use parking_lot::Mutex;

use super::metric_list::MetricList;

/// What the processor hands to the thread that evaluates.
#[derive(Default)]
pub(super) struct Outcome {
    /// The final value of each metric.
    pub(super) values: Vec<(MetricId, f64)>,
    /// The first failure. burn's error type cannot be made outside of burn.
    pub(super) failure: Option<Failure>,
}

/// What could not be computed.
pub(super) struct Failure {
    pub(super) part: String,
    pub(super) source: Box<dyn StdError + Send + Sync>,
}

pub(super) struct EvaluationProcessor<O> {
    metrics: MetricList<O>,
    renderer: Box<dyn MetricsRenderer>,
    name: EvaluationName,
    outcome: Arc<Mutex<Outcome>>,
}

impl<O: ItemLazy> EvaluationProcessor<O> {
    pub(super) fn new(
        metrics: MetricList<O>,
        renderer: Box<dyn MetricsRenderer>,
        name: EvaluationName,
        outcome: Arc<Mutex<Outcome>>,
    ) -> Self {
        Self { metrics, renderer, name, outcome }
    }

    fn fail(&self, part: String, source: impl StdError + Send + Sync + 'static) {
        self.outcome.lock().failure.get_or_insert(Failure { part, source: Box::new(source) });
    }

    fn show(&mut self, state: MetricState) {
        self.renderer.update_test(self.name.clone(), state);
    }

    fn add(&mut self, item: EvaluationItem<O>) {
        let EvaluationItem { item, progress, iteration } = item;
        let output = match item.sync() {
            Ok(output) => output,
            Err(error) => return self.fail("the model's output".to_owned(), error),
        };
        let done = progress.items_processed;
        let metadata = MetricMetadata { progress, iteration, lr: None };
        for index in 0..self.metrics.0.len() {
            match self.metrics.0[index].update(&output, &metadata) {
                Ok(state) => self.show(state),
                Err(error) => self.fail(named(&self.metrics.0[index].definition().name), error),
            }
        }
        self.renderer.update_test_progress(done);
    }

    fn finish(&mut self) {
        for index in 0..self.metrics.0.len() {
            let definition = self.metrics.0[index].definition();
            match self.metrics.0[index].finish() {
                Ok((state, value)) => {
                    self.outcome.lock().values.push((definition.metric_id, value));
                    self.show(state);
                }
                Err(error) => self.fail(named(&definition.name), error),
            }
        }
    }
}

fn named(metric: &MetricName) -> String {
    format!("the metric {metric}")
}

impl<O: ItemLazy> EventProcessorEvaluation for EvaluationProcessor<O> {
    type ItemTest = O;

    fn process_test(&mut self, event: EvaluatorEvent<O>) -> Result<(), EventProcessorError> {
        match event {
            EvaluatorEvent::Start { total_tests } => {
                for metric in &self.metrics.0 {
                    self.renderer.register_metric(metric.definition());
                }
                self.renderer.start_global_progress(total_tests);
            }
            EvaluatorEvent::StartTest(name, items) => self.renderer.start_test(name.as_str(), items),
            EvaluatorEvent::ProcessedItem(_, item) => self.add(item),
            EvaluatorEvent::EndTest => {
                self.finish();
                self.renderer.end_test();
            }
            EvaluatorEvent::End(_) => self.renderer.end_global_progress(),
        }
        Ok(())
    }

    fn renderer(self) -> Box<dyn MetricsRenderer> {
        self.renderer
    }
}
