//! The metrics of the epoch in progress, for a process that writes no files. (burn's `InMemoryMetricLogger` counts
//! epochs from the first that it sees, which after a resume is not the first one.)

use std::collections::HashMap;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

/// Remembers the numbers of one epoch.
#[derive(Default)]
pub(super) struct Memory {
    epoch: usize,
    ids: HashMap<String, MetricId>,
    entries: HashMap<(MetricId, Split), Vec<NumericEntry>>,
}

impl MetricLogger for Memory {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if self.epoch != epoch {
            (self.epoch, self.entries) = (epoch, HashMap::new());
        }
        let numeric = update.entries_numeric.into_iter().map(|metric| metric.entry);
        for entry in update.entries.into_iter().chain(numeric) {
            if let Ok(number) = NumericEntry::deserialize(&entry.serialized_entry.serialized) {
                self.entries.entry((entry.metric_id, split.clone())).or_default().push(number);
            }
        }
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        let id = self.ids.get(name).filter(|_| self.epoch == epoch);
        Ok(id.and_then(|id| self.entries.get(&(id.clone(), split.clone()))).cloned().unwrap_or_default())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.ids.insert(definition.name.to_string(), definition.metric_id);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
