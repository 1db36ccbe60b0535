//! The metrics that a callback logs. To burn they are metrics like any other: shown, written to files, stored
//! in checkpoints, and usable wherever a setting names a metric.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn_ckpt::retention::MetricMode;
use parking_lot::Mutex;

/// Digits after the point of a value that is shown.
const PRECISION: usize = 4;

/// A metric that a callback logs, under a name: `grad_norm` becomes `train_grad_norm`, or `val_grad_norm` for
/// [`of_validation`](Self::of_validation).
///
/// The value of an epoch is the mean of the values that were logged in it, and NaN where there are none. What
/// ranks by it, such as best checkpoints, needs to know whether lower or higher is better: say it here, or in
/// the `mode` of what ranks. [`CallbackContext`](super::CallbackContext) has an example.
#[derive(Debug, Clone)]
pub struct LoggedScalar {
    pub(super) name: String,
    pub(super) split: LoggedSplit,
    pub(super) mode: Option<MetricMode>,
}

impl LoggedScalar {
    /// A metric of the training, logged in [`on_train_batch_end`](super::Callback::on_train_batch_end),
    /// [`on_before_optimizer_step`](super::Callback::on_before_optimizer_step) or
    /// [`on_train_step_end`](super::Callback::on_train_step_end), at most once for each batch.
    #[must_use]
    pub fn of_training(name: impl Into<String>) -> Self {
        Self { name: name.into(), split: LoggedSplit::Training, mode: None }
    }

    /// A metric of the validation, logged in
    /// [`on_validation_batches_end`](super::Callback::on_validation_batches_end).
    #[must_use]
    pub fn of_validation(name: impl Into<String>) -> Self {
        Self { name: name.into(), split: LoggedSplit::Validation, mode: None }
    }

    /// A higher value is better: best checkpoints by this metric have the highest.
    #[must_use]
    pub fn higher_is_better(mut self) -> Self {
        self.mode = Some(MetricMode::Max);
        self
    }

    /// A lower value is better: best checkpoints by this metric have the lowest.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.mode = Some(MetricMode::Min);
        self
    }
}

/// The split of the run that logs a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoggedSplit {
    Training,
    Validation,
}

/// A value to log: a number, or a tensor of one element. A tensor is read on the thread of burn's metrics, so
/// that the loop does not wait for the device. [`CallbackContext`](super::CallbackContext) has an example.
#[derive(Debug, Clone)]
pub struct ScalarValue(Value);

#[derive(Debug, Clone)]
enum Value {
    Number(f64),
    Tensor(Box<Tensor<1>>),
}

impl From<f64> for ScalarValue {
    fn from(value: f64) -> Self {
        Self(Value::Number(value))
    }
}

impl From<Tensor<1>> for ScalarValue {
    fn from(value: Tensor<1>) -> Self {
        Self(Value::Tensor(Box::new(value)))
    }
}

impl ScalarValue {
    fn read(self) -> Result<f64, TensorReadError> {
        match self.0 {
            Value::Number(value) => Ok(value),
            Value::Tensor(tensor) => tensor.try_into_scalar::<f64>(),
        }
    }
}

/// Values on their way to burn's thread, by the number of the batch in its epoch, as burn counts them.
#[derive(Debug, Clone, Default)]
pub(super) struct Logged(Arc<Mutex<BTreeMap<usize, ScalarValue>>>);

impl Logged {
    /// Notes the value of a batch. The last one counts.
    pub(super) fn put(&self, batch: usize, value: ScalarValue) {
        self.0.lock().insert(batch, value);
    }

    fn take(&self, batch: usize) -> Option<ScalarValue> {
        self.0.lock().remove(&batch)
    }

    /// All that is left, in order.
    fn take_all(&self) -> Vec<ScalarValue> {
        std::mem::take(&mut *self.0.lock()).into_values().collect()
    }
}

/// The metrics that a callback logs.
#[derive(Default)]
pub(super) struct ScalarsOf(pub(super) Vec<(LoggedScalar, Logged)>);

impl ScalarsOf {
    pub(super) fn find(&self, name: &str) -> Option<&(LoggedScalar, Logged)> {
        self.0.iter().find(|(scalar, _)| scalar.name == name)
    }

    pub(super) fn names(&self) -> String {
        match &self.0[..] {
            [] => "none".to_owned(),
            all => all.iter().map(|(scalar, _)| scalar.name.as_str()).collect::<Vec<_>>().join(", "),
        }
    }
}

/// burn's side of a logged metric.
#[derive(Clone)]
pub(super) struct ScalarMetric {
    name: MetricName,
    higher_is_better: bool,
    logged: Logged,
    state: NumericMetricState,
    has_current: bool,
    has_any: bool,
}

impl ScalarMetric {
    pub(super) fn new(scalar: &LoggedScalar, logged: Logged) -> Self {
        let (name, higher_is_better) = (Arc::new(scalar.name.clone()), scalar.mode == Some(MetricMode::Max));
        let state = NumericMetricState::new();
        Self { name, higher_is_better, logged, state, has_current: false, has_any: false }
    }

    fn add(&mut self, value: ScalarValue) -> Result<(), TensorReadError> {
        self.state.update(value.read()?, 1);
        (self.has_current, self.has_any) = (true, true);
        Ok(())
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(Arc::clone(&self.name)).precision(PRECISION)
    }
}

impl Metric for ScalarMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, _item: &(), metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.has_current = false;
        match metadata.iteration.and_then(|batch| self.logged.take(batch)) {
            Some(value) => {
                self.add(value)?;
                Ok(self.state.compute_update(self.format()))
            }
            None => Ok(SerializedEntry::not_available(None)),
        }
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        // Of a validation: it has no batch of its own.
        for value in self.logged.take_all() {
            self.add(value)?;
        }
        match self.has_any {
            true => Ok(self.state.compute_final(self.format())),
            false => Ok(SerializedEntry::not_available(None)),
        }
    }

    fn clear(&mut self) {
        self.state.reset();
        (self.has_current, self.has_any) = (false, false);
    }
}

impl Numeric for ScalarMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.has_current.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        // Without a value of this batch the one before stands, which can be from before a resume.
        self.has_current.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
