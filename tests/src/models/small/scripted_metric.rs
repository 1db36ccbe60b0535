//! A metric whose values are given, and early stopping by it.

use std::collections::VecDeque;
use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::{MetricEarlyStoppingStrategy, StoppingCondition};
use parking_lot::Mutex;

/// A metric with any name, whose value at the end of each epoch is given, and which can fail.
#[derive(Debug, Clone)]
pub struct ScriptedMetric {
    name: MetricName,
    scores: Arc<Mutex<VecDeque<f64>>>,
    value: f64,
    fails: bool,
    panics: bool,
    attributes: Option<bool>,
    at_the_end_only: bool,
}

impl ScriptedMetric {
    /// Lower is better; the values are for the epochs one after the other.
    #[must_use]
    pub fn new(name: &str, scores: &[f64]) -> Self {
        let scores = Arc::new(Mutex::new(scores.iter().copied().collect()));
        Self {
            name: Arc::new(name.to_owned()),
            scores,
            value: 0.0,
            fails: false,
            panics: false,
            attributes: Some(false),
            at_the_end_only: false,
        }
    }

    /// Higher is better, or `None`: it does not say.
    #[must_use]
    pub fn higher_is_better(self, attributes: Option<bool>) -> Self {
        Self { attributes, ..self }
    }

    /// Has no value before the end of an epoch.
    #[must_use]
    pub fn at_the_end_only(self) -> Self {
        Self { at_the_end_only: true, ..self }
    }

    /// Panics whenever it is updated.
    #[must_use]
    pub fn panicking(self) -> Self {
        Self { panics: true, ..self }
    }

    /// Fails whenever it is updated.
    #[must_use]
    pub fn failing(self) -> Self {
        Self { fails: true, ..self }
    }
}

impl Metric for ScriptedMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        match self.attributes {
            Some(higher_is_better) => NumericAttributes { unit: None, higher_is_better }.into(),
            None => MetricAttributes::None,
        }
    }

    fn update(&mut self, (): &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        assert!(!self.panics, "the metric was told to panic");
        if self.fails {
            return Err(TensorReadError::InvalidShape { expected: 1, actual: 2 });
        }
        Ok(SerializedEntry::new(self.value.to_string(), self.value.to_string()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let next = self.scores.lock().pop_front();
        self.value = next.unwrap_or(self.value);
        Ok(SerializedEntry::new(self.value.to_string(), NumericEntry::Final(self.value).serialize()))
    }

    fn clear(&mut self) {}
}

impl Numeric for ScriptedMetric {
    fn value(&self) -> Option<NumericEntry> {
        (!self.at_the_end_only).then_some(NumericEntry::Value(self.value))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.value)
    }
}

/// Early stopping after so many epochs without a lower value in the validation.
#[must_use]
pub fn stopping_after(n_epochs: usize, metric: &ScriptedMetric) -> MetricEarlyStoppingStrategy {
    let condition = StoppingCondition::NoImprovementSince { n_epochs };
    MetricEarlyStoppingStrategy::new(metric, Aggregate::Mean, Direction::Lowest, Split::Valid, condition)
}
