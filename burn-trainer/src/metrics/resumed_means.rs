//! The means of an epoch that was resumed in its middle.
//!
//! burn's metric objects hold the state of an epoch and cannot be saved. After a resume they see the
//! remaining batches only. Most metrics are means over the batches (burn's `NumericMetricState`: loss,
//! accuracy and so on). For those the missing part follows from the lines that were logged before the resume.
//! It is added with burn's arithmetic and in burn's order, so that the result is the same to the bit.
//!
//! A metric is found not to be a mean when burn's running value differs from the mean of its lines. The
//! history notes that, since the rest of an epoch can be too short to show it again. Nor is there a mean
//! where the lines before the resume count batches, and those after it items: the program has another metric
//! of the same name now (`MeanLoss` for burn's `LossMetric`).

use std::collections::HashMap;

use burn::train::metric::store::{MetricsUpdate, NumericMetricUpdate};
use burn::train::metric::{MetricId, MetricName, NumericEntry};

use super::history::SharedHistory;
use super::line_chunks::Entries;
use crate::process::console::warn;

/// The means of the training split's metrics in one epoch.
#[derive(Default)]
pub(super) struct EpochMeans {
    /// burn's number of the epoch.
    epoch: usize,
    is_resumed: bool,
    means: HashMap<MetricId, MetricMeans>,
}

#[derive(Debug, Default, Clone, Copy)]
struct MetricMeans {
    /// Of the whole epoch.
    whole: Mean,
    /// Of the batches since the resume.
    rest: Mean,
    /// Whether each line from before the resume counts as 1, as a batch does.
    counted_batches: bool,
    differs_from_mean: bool,
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
            // The lines can come from a hostile checkpoint.
            self.count = self.count.saturating_add(count);
        }
    }

    fn equals(&self, value: f64) -> bool {
        self.value().to_bits() == value.to_bits() || (self.value().is_nan() && value.is_nan())
    }

    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl EpochMeans {
    /// The means of a partially finished epoch, from its lines and the metrics that were found not to be
    /// means.
    pub(super) fn resumed(
        epoch: usize,
        entries: &Entries,
        no_means: &[String],
        id: impl Fn(&str) -> Option<MetricId>,
    ) -> Self {
        let means = entries.iter().filter_map(|(metric, lines)| {
            let before = lines.before();
            let counted_batches = !lines.is_empty() && before.counts_batches();
            let mut means = MetricMeans { counted_batches, ..MetricMeans::default() };
            if let Some((sum, count)) = before.sum() {
                means.whole = Mean { sum: 0.0 + sum, count };
            }
            for (_, line) in lines.iter() {
                if let Ok(entry) = NumericEntry::deserialize(line) {
                    means.counted_batches &= matches!(entry, NumericEntry::Aggregated { count: 1, .. });
                    means.whole.add(&entry);
                }
            }
            means.differs_from_mean = no_means.contains(metric);
            Some((id(metric)?, means))
        });
        Self { epoch, is_resumed: !entries.is_empty(), means: means.collect() }
    }

    /// Replaces the running and final values of an update by those of the whole epoch.
    pub(super) fn complete(
        &mut self,
        epoch: usize,
        update: &mut MetricsUpdate,
        names: &HashMap<MetricId, MetricName>,
        history: &SharedHistory,
    ) {
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
        for metric in &mut update.entries_numeric {
            let Some(name) = names.get(&metric.entry.metric_id) else { continue };
            let means = self.means.entry(metric.entry.metric_id.clone()).or_default();
            if !means.differs_from_mean && means.complete(metric, self.is_resumed) == MeanCheck::Differs {
                means.differs_from_mean = true;
                history.note_no_mean(epoch, name);
            }
            let ends = matches!(metric.numeric_entry, Some(NumericEntry::Final(_)));
            if ends && means.differs_from_mean && self.is_resumed {
                let why = match means.counted_batches {
                    true => "it counts items now, and counted batches before",
                    false => "it is not a mean over batches",
                };
                let message = format!(
                    "the training metric {name} of the resumed epoch covers only the batches since the resume: {why}"
                );
                warn(&message);
            }
        }
    }
}

/// What an update shows about its metric.
#[derive(PartialEq)]
enum MeanCheck {
    /// Its value is the mean so far, or there is no value to compare.
    Agrees,
    /// Its value is not the mean.
    Differs,
}

impl MetricMeans {
    fn complete(&mut self, metric: &mut NumericMetricUpdate, is_resumed: bool) -> MeanCheck {
        let value = match &metric.numeric_entry {
            Some(NumericEntry::Final(value)) => Some(*value),
            Some(entry) => {
                if self.counted_batches && matches!(entry, NumericEntry::Aggregated { count: 2.., .. }) {
                    return MeanCheck::Differs;
                }
                self.whole.add(entry);
                self.rest.add(entry);
                metric.running_entry.as_ref().map(NumericEntry::current)
            }
            None => None,
        };
        match value {
            Some(value) if !self.rest.equals(value) => MeanCheck::Differs,
            // A metric without a value in the epoch has none at its end.
            Some(_) if is_resumed && self.whole.count > 0 => {
                let value = self.whole.value();
                match &mut metric.numeric_entry {
                    Some(end @ NumericEntry::Final(_)) => {
                        *end = NumericEntry::Final(value);
                        metric.entry.serialized_entry.serialized = end.serialize();
                    }
                    _ => metric.running_entry = Some(NumericEntry::Value(value)),
                }
                MeanCheck::Agrees
            }
            _ => MeanCheck::Agrees,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line_chunks::Lines;
    use super::*;
    use burn::train::metric::{MetricEntry, SerializedEntry};
    use std::sync::Arc;

    fn id() -> MetricId {
        MetricId::new(Arc::new("Loss".to_owned()))
    }

    fn completed(means: &mut EpochMeans, entry: NumericEntry, running: Option<f64>) -> NumericMetricUpdate {
        let serialized = SerializedEntry::new(String::new(), entry.serialize());
        let running = running.map(NumericEntry::Value);
        let metric = NumericMetricUpdate {
            entry: MetricEntry::new(id(), serialized),
            numeric_entry: Some(entry),
            running_entry: running,
        };
        let mut update = MetricsUpdate::new(Vec::new(), vec![metric]);
        let names = HashMap::from([(id(), Arc::new("Loss".to_owned()))]);
        means.complete(3, &mut update, &names, &SharedHistory::default());
        update.entries_numeric.remove(0)
    }

    fn resumed(no_means: &[String]) -> EpochMeans {
        resumed_with(&["0.5,8", "0.25,8"], no_means)
    }

    fn resumed_with(logged: &[&str], no_means: &[String]) -> EpochMeans {
        let mut lines = Lines::default();
        (1..).zip(logged).for_each(|(number, line)| lines.push(number, line));
        EpochMeans::resumed(3, &Entries::from([("Loss".to_owned(), lines)]), no_means, |_| Some(id()))
    }

    fn batch(value: f64, count: usize) -> NumericEntry {
        NumericEntry::Aggregated { aggregated_value: value, count }
    }

    #[test]
    fn a_mean_is_that_of_the_whole_epoch() {
        let mut means = resumed(&[]);
        let third = completed(&mut means, batch(0.1, 4), Some(0.1));
        let whole = (0.5 * 8.0 + 0.25 * 8.0 + 0.1 * 4.0) / 20.0;
        assert_eq!(third.running_entry.unwrap().current(), whole);

        let end = completed(&mut means, NumericEntry::Final(0.1 * 4.0 / 4.0), None);
        assert_eq!(end.numeric_entry.unwrap().current(), whole);
        assert_eq!(end.entry.serialized_entry.serialized, format!("{whole},final"));
    }

    #[test]
    fn a_metric_that_is_not_a_mean_is_left_alone() {
        let mut means = resumed(&[]);
        completed(&mut means, batch(0.1, 4), Some(0.9));
        let end = completed(&mut means, NumericEntry::Final(0.1), None);
        assert_eq!(end.numeric_entry.unwrap().current(), 0.1, "it was found out before");

        // A rest of one batch looks like a mean in any case.
        let mut means = resumed(&["Loss".to_owned()]);
        completed(&mut means, batch(0.1, 4), Some(0.1));
        let end = completed(&mut means, NumericEntry::Final(0.1), None);
        assert_eq!(end.numeric_entry.unwrap().current(), 0.1);
    }

    #[test]
    fn lines_that_count_batches_and_lines_that_count_items_have_no_mean_together() {
        let mut means = resumed_with(&["0.5,1", "0.25,1"], &[]);
        completed(&mut means, batch(0.1, 8), Some(0.1));
        let end = completed(&mut means, NumericEntry::Final(0.1), None);
        assert_eq!(end.numeric_entry.unwrap().current(), 0.1, "that of the rest");
        // A batch of one item after full ones is as any other.
        let mut means = resumed_with(&["0.5,8"], &[]);
        completed(&mut means, batch(0.1, 1), Some(0.1));
        let end = completed(&mut means, NumericEntry::Final(0.1), None);
        assert_eq!(end.numeric_entry.unwrap().current(), (0.5 * 8.0 + 0.1) / 9.0);
    }

    #[test]
    fn a_metric_that_was_not_logged_in_the_epoch_has_no_line_at_its_end() {
        let end = |logged: &[&str]| {
            let mut metric = NumericMetricUpdate {
                entry: MetricEntry::new(id(), SerializedEntry::not_available(None)),
                numeric_entry: Some(NumericEntry::Final(f64::NAN)),
                running_entry: None,
            };
            let mut means = resumed_with(logged, &[]);
            means.means.entry(id()).or_default().complete(&mut metric, true);
            metric.entry.serialized_entry
        };
        assert!(end(&[]).is_not_available());
        // It was, before the resume.
        assert_eq!(end(&["0.5,1"]).serialized, "0.5,final");
    }

    #[test]
    fn an_epoch_in_one_part_has_burns_values() {
        let mut means = EpochMeans::default();
        completed(&mut means, batch(0.3, 3), Some(0.3));
        let end = completed(&mut means, NumericEntry::Final(0.3), None);
        assert_eq!(end.entry.serialized_entry.serialized, "0.3,final");
    }

    #[test]
    fn hostile_lines_of_a_checkpoint_do_not_panic() {
        for logged in [["0.5,18446744073709551615"; 2], ["a,b,c"; 2], ["NaN,1", "inf,2"], ["", ",,"]] {
            let mut means = resumed_with(&logged, &[]);
            completed(&mut means, batch(0.1, 4), Some(0.1));
            completed(&mut means, NumericEntry::Final(0.1), None);
        }
    }
}
