//! The metric logger that feeds the table and the history, and hands everything on to burn's own file logger, or to
//! memory in a process that writes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use burn::train::logger::{FileMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{
    MetricDefinition, MetricEntry, MetricId, MetricName, NumericEntry, SerializedEntry,
};
use burn_ckpt::safe_name;

use super::SharedMetrics;
use super::history::{Entries, SharedHistory};
use super::means::EpochMeans;
use super::memory::Memory;

/// burn's file logger takes a metric's name as a file name; this many bytes of it are always safe.
const MAX_FILE_NAME: usize = 100;

/// A metric logger that fills a [`MetricTable`](super::MetricTable) and a history, and writes burn's metric files.
pub(crate) struct MetricTap {
    table: SharedMetrics,
    history: SharedHistory,
    files: Box<dyn MetricLogger>,
    /// What burn's file logger calls a metric whose own name is no safe file name.
    file_names: HashMap<String, MetricName>,
    names: HashMap<MetricId, MetricName>,
    /// The epoch, by burn's number, that a resumed run begins with.
    first_epoch: Option<usize>,
    means: EpochMeans,
    /// Called before the first update is logged.
    at_first_update: Option<Box<dyn FnOnce() + Send>>,
}

impl MetricTap {
    pub(crate) fn new(table: SharedMetrics, history: SharedHistory) -> Self {
        Self {
            table,
            history,
            files: Box::new(Memory::default()),
            file_names: HashMap::new(),
            names: HashMap::new(),
            first_epoch: None,
            means: EpochMeans::default(),
            at_first_update: None,
        }
    }

    /// Calls this before the first update is logged, when every metric is registered. burn waits for it.
    pub(crate) fn at_first_update(&mut self, call: impl FnOnce() + Send + 'static) {
        self.at_first_update = Some(Box::new(call));
    }

    /// Writes burn's metric files into a directory.
    pub(crate) fn with_files(mut self, run_dir: &Path) -> Self {
        self.files = Box::new(FileMetricLogger::new(run_dir));
        self
    }

    /// Goes on in an epoch (burn's number) of which the history has the beginning.
    pub(crate) fn resumed_in(mut self, epoch: usize) -> Self {
        self.first_epoch = Some(epoch);
        self
    }

    /// The id of a metric by burn's name of it.
    fn id(&self, metric: &str) -> Option<MetricId> {
        self.names.iter().find_map(|(id, name)| (name.as_str() == metric).then(|| id.clone()))
    }

    /// Brings the files of the epoch that is gone on with to where it was stopped: burn's file logger begins them
    /// anew.
    fn rewrite(&mut self, epoch: usize, entries: &Entries) {
        for (metric, lines) in entries {
            let Some(id) = self.id(metric) else { continue };
            for (_, line) in lines {
                let entry = SerializedEntry::new(line.clone(), line.clone());
                let update = MetricsUpdate::new(vec![MetricEntry::new(id.clone(), entry)], Vec::new());
                self.files.log(update, epoch, &Split::Train);
            }
        }
    }
}

impl MetricLogger for MetricTap {
    fn log(&mut self, mut update: MetricsUpdate, epoch: usize, split: &Split) {
        if let Some(call) = self.at_first_update.take() {
            call();
        }
        if self.first_epoch.take_if(|first| *first == epoch).is_some() {
            let (entries, no_means) = self.history.entries(epoch);
            self.rewrite(epoch, &entries);
            self.means = EpochMeans::resumed(epoch, &entries, &no_means, |metric| self.id(metric));
        }
        if *split == Split::Train {
            self.means.complete(epoch, &mut update, &self.names, &self.history);
            self.history.log(epoch, lines(&update, &self.names));
        }
        self.table.lock().update(&update, split);
        self.files.log(update, epoch, split);
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        // An epoch that is done may have been trained in another directory.
        let full_name = self.table.lock().full_name(name, split);
        if let Some(value) = full_name.and_then(|full_name| self.history.value(&full_name, epoch)) {
            return Ok(vec![NumericEntry::Final(value)]);
        }
        match self.file_names.get(name) {
            Some(file_name) => self.files.read_numeric(file_name, epoch, split),
            None => Ok(Vec::new()),
        }
    }

    fn log_metric_definition(&mut self, mut definition: MetricDefinition) {
        self.table.lock().register(&definition);
        self.names.insert(definition.metric_id.clone(), Arc::clone(&definition.name));
        let file_name = match is_file_name(&definition.name) {
            true => definition.name.clone(),
            // A metric called "../x" or "val/loss" must not decide where its log goes, nor stop the logger.
            false => Arc::new(
                safe_name("the metric's name", &definition.name).unwrap_or_else(|_| "metric".to_owned()),
            ),
        };
        self.file_names.insert(definition.name.to_string(), file_name.clone());
        definition.name = file_name;
        self.files.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.files.log_epoch_summary(summary);
    }
}

/// The lines that burn's file logger writes for an update, by burn's names of the metrics.
fn lines(
    update: &MetricsUpdate,
    names: &HashMap<MetricId, MetricName>,
) -> impl Iterator<Item = (String, String)> {
    let numeric = update.entries_numeric.iter().map(|metric| &metric.entry);
    update.entries.iter().chain(numeric).filter_map(|entry| {
        let name = names.get(&entry.metric_id)?;
        let line = &entry.serialized_entry;
        (!line.is_not_available()).then(|| (name.to_string(), line.serialized.clone()))
    })
}

fn is_file_name(name: &str) -> bool {
    name.len() <= MAX_FILE_NAME
        && name.contains(char::is_alphanumeric)
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_no_file_names() {
        for name in ["", "..", "a/b", "../../a", "a\nb", &"x".repeat(300)] {
            assert!(!is_file_name(name), "{name:?}");
        }
        assert!(is_file_name("Top-K Accuracy @ k=5"));
    }
}
