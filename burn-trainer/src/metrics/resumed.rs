//! The averages of an epoch that was stopped in its middle.
//!
//! burn's metric objects hold the state of an epoch and cannot be saved, so after a resume they know of the
//! remaining batches only. For metrics that are means over the batches (burn's `NumericMetricState`: loss, accuracy
//! and most others) the missing part follows from the lines that were logged before: it is added with burn's own
//! arithmetic, in burn's order, so that the result is the same to the last bit.

use std::collections::HashMap;

use burn::train::metric::store::{MetricsUpdate, NumericMetricUpdate};
use burn::train::metric::{MetricId, NumericEntry};

use super::history::Entries;
use crate::progress::say;

/// The means of a resumed epoch's metrics, with and without what was logged before.
pub(super) struct ResumedEpoch {
    before: HashMap<MetricId, Mean>,
    means: HashMap<MetricId, Means>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Means {
    whole: Mean,
    rest: Mean,
}

/// burn's `NumericMetricState`, with a plain value counted once, as burn's event store does.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, entry: &NumericEntry) {
        let (value, count) = match entry {
            NumericEntry::Value(value) => (*value, 1),
            NumericEntry::Aggregated { aggregated_value, count } => (*aggregated_value, *count),
            NumericEntry::Final(_) => return,
        };
        if count > 0 {
            self.sum += value * count as f64;
            self.count += count;
        }
    }

    fn is(&self, value: f64) -> bool {
        self.value().to_bits() == value.to_bits() || (self.value().is_nan() && value.is_nan())
    }

    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl ResumedEpoch {
    /// From what had been logged when the epoch was stopped.
    pub(super) fn new(entries: &Entries, id: impl Fn(&str) -> Option<MetricId>) -> Self {
        let before = entries.iter().filter_map(|(metric, lines)| {
            let mut mean = Mean::default();
            for (_, line) in lines {
                if let Ok(entry) = NumericEntry::deserialize(line) {
                    mean.add(&entry);
                }
            }
            Some((id(metric)?, mean))
        });
        Self { before: before.collect(), means: HashMap::new() }
    }

    /// Makes the running and final values of an update those of the whole epoch.
    pub(super) fn complete(&mut self, update: &mut MetricsUpdate) {
        for metric in &mut update.entries_numeric {
            self.complete_one(metric);
        }
    }

    fn complete_one(&mut self, metric: &mut NumericMetricUpdate) {
        let id = &metric.entry.metric_id;
        let Some(before) = self.before.get(id) else { return };
        let means = self.means.entry(id.clone()).or_insert(Means { whole: *before, rest: Mean::default() });
        match &mut metric.numeric_entry {
            Some(NumericEntry::Final(value)) => {
                // Only where burn's own value for the rest is this mean too, it is the metric's rule.
                if means.rest.is(*value) {
                    *value = means.whole.value();
                    metric.entry.serialized_entry.serialized = NumericEntry::Final(*value).serialize();
                } else {
                    let message = format!(
                        "the metric {id:?} of the epoch that was resumed in its middle covers only the batches after \
                         that: it is no mean over batches"
                    );
                    log::warn!("{message}");
                    say(&format!("warning: {message}"));
                }
            }
            Some(entry) => {
                means.whole.add(entry);
                means.rest.add(entry);
                if let Some(running) = &mut metric.running_entry
                    && means.rest.is(running.current())
                {
                    *running = NumericEntry::Value(means.whole.value());
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::train::metric::{MetricEntry, SerializedEntry};
    use std::sync::Arc;

    fn id() -> MetricId {
        MetricId::new(Arc::new("Loss".to_owned()))
    }

    fn update(entry: NumericEntry, running: Option<f64>) -> MetricsUpdate {
        let serialized = SerializedEntry::new(String::new(), entry.serialize());
        let running = running.map(NumericEntry::Value);
        let metric = NumericMetricUpdate {
            entry: MetricEntry::new(id(), serialized),
            numeric_entry: Some(entry),
            running_entry: running,
        };
        MetricsUpdate::new(Vec::new(), vec![metric])
    }

    fn resumed() -> ResumedEpoch {
        let lines = vec![(1, "0.5,8".to_owned()), (2, "0.25,8".to_owned())];
        ResumedEpoch::new(&Entries::from([("Loss".to_owned(), lines)]), |_| Some(id()))
    }

    #[test]
    fn a_mean_is_that_of_the_whole_epoch() {
        let mut resumed = resumed();
        let mut third = update(NumericEntry::Aggregated { aggregated_value: 0.1, count: 4 }, Some(0.1));
        resumed.complete(&mut third);
        let whole = (0.5 * 8.0 + 0.25 * 8.0 + 0.1 * 4.0) / 20.0;
        assert_eq!(third.entries_numeric[0].running_entry.as_ref().unwrap().current(), whole);

        let mut end = update(NumericEntry::Final(0.1 * 4.0 / 4.0), None);
        resumed.complete(&mut end);
        let metric = &end.entries_numeric[0];
        assert_eq!(metric.numeric_entry.as_ref().unwrap().current(), whole);
        assert_eq!(metric.entry.serialized_entry.serialized, format!("{whole},final"));
    }

    #[test]
    fn what_is_no_mean_is_left_alone() {
        let mut resumed = resumed();
        resumed.complete(&mut update(NumericEntry::Value(0.1), Some(0.9)));
        let mut end = update(NumericEntry::Final(0.9), None);
        resumed.complete(&mut end);
        assert_eq!(end.entries_numeric[0].numeric_entry.as_ref().unwrap().current(), 0.9);
    }
}
