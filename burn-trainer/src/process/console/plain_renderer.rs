//! Progress as plain lines on standard error, for logs and pipes: one when a split is done, and one every 10
//! seconds in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricAttributes, MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use indexmap::IndexMap;

use super::say;
use crate::process::progress::epochs_table::SplitValues;
use crate::process::progress::figures::{significant, span};
use crate::process::progress::shown_speed::{ShownSpeed, SpeedSource};

/// burn's name of the training split.
const TRAIN: &str = "train";
/// More items than any data set has. A loader that does not know its length may give such a number. In the
/// sums of burn's dashboard, some 65,000 epochs of that number of items do not overflow.
pub(crate) const MAX_ITEMS: usize = usize::MAX >> 16;
/// Time between two lines within a split.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many batches of the first epoch were trained before the resume. It can become another number after the
/// renderer is made, as an older checkpoint is resumed from than the one that was found.
pub(crate) type ResumedBatches = Arc<AtomicU64>;

/// Writes one line per split with its metrics, and one every 10 seconds in between.
///
/// ```
/// let hidden = burn_trainer::process::PlainRenderer::hidden(); // for `SupervisedTraining::renderer`
/// ```
#[derive(Debug)]
pub struct PlainRenderer {
    metrics: IndexMap<MetricId, ShownMetric>,
    epoch: usize,
    epochs: usize,
    split: String,
    items: usize,
    done: usize,
    started: Instant,
    printed: Instant,
    hidden: bool,
    /// The training split that a validation within it interrupts.
    interrupted: Option<InterruptedSplit>,
    /// Batches of the first training split before the resume.
    resumed_after: ResumedBatches,
    /// Gives the speed of training.
    speed: ShownSpeedSource,
}

#[derive(Default)]
struct ShownSpeedSource(Option<SpeedSource>);

impl std::fmt::Debug for ShownSpeedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ShownSpeedSource").field(&self.0.is_some()).finish()
    }
}

/// A training split while a validation within it is shown.
#[derive(Debug)]
struct InterruptedSplit {
    done: usize,
    items: usize,
    elapsed: Duration,
}

#[derive(Debug)]
struct ShownMetric {
    name: String,
    unit: String,
    value: Option<f64>,
}

impl ShownMetric {
    /// Its name with its unit.
    fn heading(&self) -> String {
        format!("{}{}", self.name, self.unit)
    }
}

impl PlainRenderer {
    /// A renderer that has printed nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            metrics: IndexMap::new(),
            epoch: 1,
            epochs: 0,
            split: String::new(),
            items: 0,
            done: 0,
            started: Instant::now(),
            printed: Instant::now(),
            hidden: false,
            interrupted: None,
            resumed_after: ResumedBatches::default(),
            speed: ShownSpeedSource::default(),
        }
    }

    /// A renderer that prints nothing, for all processes but one.
    #[must_use]
    pub fn hidden() -> Self {
        Self { hidden: true, ..Self::new() }
    }

    /// A renderer for a run that resumes in an epoch after some batches. burn shows a renderer the metrics
    /// of the batches since the resume, and the first line says so. Files and checkpoints have those of the
    /// whole epoch.
    pub(crate) fn resumed(batches: ResumedBatches) -> Self {
        Self { resumed_after: batches, ..Self::new() }
    }

    /// With the speed of training in its lines.
    pub(in crate::process) fn with_speed(self, source: SpeedSource) -> Self {
        Self { speed: ShownSpeedSource(Some(source)), ..self }
    }

    /// The speed of the training split in progress.
    pub(in crate::process) fn speed(&self) -> Option<ShownSpeed> {
        let source = self.speed.0.as_ref().filter(|_| self.epochs > 0 && self.split == TRAIN)?;
        source()
    }

    /// The values of the split in progress, which is at its end.
    pub(in crate::process) fn split_values(&self) -> SplitValues {
        let values = self.metrics.values().filter_map(|shown| Some((shown.heading(), shown.value?)));
        SplitValues {
            epoch: self.epoch,
            split: self.split.clone(),
            values: values.collect(),
            time: Some(self.started.elapsed()),
        }
    }

    /// What a metric is called in a table.
    pub(in crate::process) fn heading(&self, metric: &MetricId) -> Option<String> {
        self.metrics.get(metric).map(ShownMetric::heading)
    }

    /// Whether the lines are printed.
    pub(in crate::process) fn set_hidden(&mut self, hidden: bool) {
        self.hidden = hidden;
    }

    fn start(&mut self, split: &str, items: usize) {
        self.split = split.to_owned();
        (self.items, self.done) = (items, 0);
        (self.started, self.printed) = (Instant::now(), Instant::now());
        for shown in self.metrics.values_mut() {
            shown.value = None;
        }
    }

    fn advance(&mut self, done: usize) {
        self.done = done;
        if self.printed.elapsed() >= INTERVAL {
            self.printed = Instant::now();
            self.print(true);
        }
    }

    /// A line of the split in progress. Within it burn gives the values of the last batch, and at its end
    /// those of all batches.
    fn print(&self, is_within: bool) {
        if self.hidden {
            return;
        }
        let mut line = match self.epochs {
            // An evaluation.
            0 => format!("{:<5} ", self.split),
            epochs => format!("epoch {}/{epochs} {:<5} ", self.epoch, self.split),
        };
        line.push_str(&items(self.done, self.items));
        let values = self.metrics.values().filter_map(|shown| Some((shown, shown.value?)));
        for (place, (shown, value)) in values.enumerate() {
            let gap = if is_within && place == 0 { "  last batch: " } else { "  " };
            line.push_str(&format!("{gap}{} {}{}", shown.name, significant(value), shown.unit));
        }
        if let Some(InterruptedSplit { done, items: all, .. }) = &self.interrupted {
            line.push_str(&format!("  after {} of training", items(*done, *all)));
        }
        let resumed_after = self.resumed_after.load(Ordering::Relaxed);
        if resumed_after > 0 && self.split == TRAIN {
            line.push_str(&format!("  since batch {resumed_after}"));
        }
        let speed = self.speed();
        if let Some(speed) = &speed {
            line.push_str(&format!("  {}", speed.line()));
        }
        let left = speed.map_or_else(String::new, |speed| speed.time_left());
        line.push_str(&format!("  ({}{left})", span(self.started.elapsed().as_secs_f64())));
        say(&line);
    }

    /// Notes a metric's value for the next line.
    pub(in crate::process) fn update(&mut self, state: &MetricState) {
        if let MetricState::Numeric(entry, Some(number)) = state
            && let Some(shown) = self.metrics.get_mut(&entry.metric_id)
        {
            shown.value = Some(match number {
                NumericEntry::Value(value) | NumericEntry::Final(value) => *value,
                NumericEntry::Aggregated { aggregated_value, .. } => *aggregated_value,
            });
        }
    }
}

impl Default for PlainRenderer {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsRendererTraining for PlainRenderer {
    fn update_train(&mut self, state: MetricState) {
        self.update(&state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(&state);
    }
}

impl TrainingProgressLogger for PlainRenderer {
    fn start(&mut self, epochs: usize, epoch: usize, _items: Option<usize>, _label: Option<&str>) {
        (self.epochs, self.epoch) = (epochs, epoch);
    }

    fn start_split(&mut self, split: &str, items: usize) {
        if self.split == TRAIN && split != TRAIN {
            let (done, items, elapsed) = (self.done, self.items, self.started.elapsed());
            self.interrupted = Some(InterruptedSplit { done, items, elapsed });
        }
        Self::start(self, split, items);
        // A validation can have several sets, one after the other.
        if let Some(interrupted) = self.interrupted.take_if(|_| split == TRAIN) {
            self.done = interrupted.done;
            self.started = self.started.checked_sub(interrupted.elapsed).unwrap_or(self.started);
        }
    }

    fn update_split(&mut self, done: usize) {
        self.advance(done);
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn end_split(&mut self) {
        // Of a split without an item there is nothing to say: a run that was complete when it was resumed.
        if self.done > 0
            || self.metrics.values().any(|shown| shown.value.is_some_and(|value| !value.is_nan()))
        {
            self.print(false);
        }
        if self.split == TRAIN {
            self.resumed_after.store(0, Ordering::Relaxed);
        }
        self.split.clear();
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRendererEvaluation for PlainRenderer {
    fn update_test(&mut self, _name: EvaluationName, state: MetricState) {
        self.update(&state);
    }
}

impl EvaluationProgressLogger for PlainRenderer {
    fn start_global_progress(&mut self, _tests: usize) {
        self.epochs = 0;
    }

    fn start_test(&mut self, name: &str, items: usize) {
        Self::start(self, name, items);
    }

    fn update_test_progress(&mut self, done: usize) {
        self.advance(done);
    }

    fn end_test(&mut self) {
        self.print(false);
    }

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for PlainRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        let unit = match definition.attributes {
            MetricAttributes::Numeric(numeric) => numeric.unit.map(|unit| format!(" {unit}")),
            MetricAttributes::None => None,
        };
        let shown =
            ShownMetric { name: definition.name.to_lowercase(), unit: unit.unwrap_or_default(), value: None };
        self.metrics.insert(definition.metric_id, shown);
    }
}

/// `640/1600 items`, or `640 items` where the total is unknown or cannot be right.
fn items(done: usize, total: usize) -> String {
    match (done.max(1)..=MAX_ITEMS).contains(&total) {
        true => format!("{done}/{total} items"),
        false => format!("{done} items"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_shown_only_where_it_can_be_right() {
        for (done, total, shown) in [
            (640, 1600, "640/1600 items"),
            (1600, 1600, "1600/1600 items"),
            (0, 1600, "0/1600 items"),
            (1600, usize::MAX, "1600 items"),
            (1600, 0, "1600 items"),
            (0, 0, "0 items"),
            (1600, 800, "1600 items"),
        ] {
            assert_eq!(items(done, total), shown);
        }
    }
}
