//! The metric logger that feeds the table and the history, writes the metric files, and answers burn's questions.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricEntry, MetricId, MetricName, NumericEntry};

use super::SharedMetrics;
use super::files::MetricFiles;
use super::history::SharedHistory;
use super::means::EpochMeans;
use super::memory::Memory;
use super::saved::Entries;

/// Text that is written at once when a file is brought to where it was.
const BLOCK: usize = 1 << 16;

/// A metric logger that fills a [`MetricTable`](super::MetricTable) and a history, and writes burn's metric files.
pub(crate) struct MetricTap {
    table: SharedMetrics,
    history: SharedHistory,
    memory: Memory,
    /// `None` in a process that writes nothing.
    files: Option<MetricFiles>,
    names: HashMap<MetricId, MetricName>,
    resumed: Option<Resumed>,
    means: EpochMeans,
    epoch: usize,
    /// Called before the first update is logged.
    at_first_update: Option<Box<dyn FnOnce() + Send>>,
}

/// How a run is gone on with.
#[derive(Clone, Copy)]
struct Resumed {
    /// The epoch, by burn's number, that it begins with.
    epoch: usize,
    /// Whether the files that are there are those of this run.
    files_are_its_own: bool,
}

impl MetricTap {
    pub(crate) fn new(table: SharedMetrics, history: SharedHistory) -> Self {
        Self {
            table,
            history,
            memory: Memory::default(),
            files: None,
            names: HashMap::new(),
            resumed: None,
            means: EpochMeans::default(),
            epoch: 0,
            at_first_update: None,
        }
    }

    /// Calls this before the first update is logged, when every metric is registered. burn waits for it.
    pub(crate) fn at_first_update(&mut self, call: impl FnOnce() + Send + 'static) {
        self.at_first_update = Some(Box::new(call));
    }

    /// Writes burn's metric files into a directory.
    pub(crate) fn with_files(mut self, run_dir: &Path) -> Self {
        self.files = Some(MetricFiles::new(run_dir));
        self
    }

    /// Goes on in an epoch (burn's number) of which the history has the beginning. Where the checkpoint is one of the
    /// directory's own run, the files there of later epochs are from a time that is gone.
    pub(crate) fn resumed_in(mut self, epoch: usize, files_are_its_own: bool) -> Self {
        self.resumed = Some(Resumed { epoch, files_are_its_own });
        self
    }

    /// The id of a metric by burn's name of it.
    fn id(&self, metric: &str) -> Option<MetricId> {
        self.names.iter().find_map(|(id, name)| (name.as_str() == metric).then(|| id.clone()))
    }

    /// Takes up the epoch that is gone on with where it was stopped. Only now, when there is something to log: whatever
    /// failed before has left the files as they were.
    fn resume(&mut self, resumed: Resumed) {
        let epoch = resumed.epoch;
        if let Some(files) = self.files.as_ref().filter(|_| resumed.files_are_its_own) {
            files.remove_later(epoch);
        }
        let (entries, no_means) = self.history.entries(epoch);
        self.rewrite(epoch, &entries);
        self.means = EpochMeans::resumed(epoch, &entries, &no_means, |metric| self.id(metric));
    }

    /// Brings the files of the epoch that is gone on with, and the memory, to where it was stopped.
    fn rewrite(&mut self, epoch: usize, entries: &Entries) {
        for (metric, lines) in entries {
            let Some(id) = self.id(metric) else { continue };
            let is_numeric = self.table.lock().is_numeric(&id);
            let (mut text, mut left_out) = (String::new(), 0);
            for (_, line) in lines.iter() {
                // burn's summary of a run panics on what is no number. No run has written such a line.
                if is_numeric && NumericEntry::deserialize(line).is_err() {
                    left_out += 1;
                    continue;
                }
                self.memory.add(&id, line, epoch, &Split::Train);
                text.push_str(line);
                text.push('\n');
                if text.len() > BLOCK {
                    self.append(&id, &text, epoch, &Split::Train);
                    text.clear();
                }
            }
            if !text.is_empty() {
                self.append(&id, &text, epoch, &Split::Train);
            }
            if left_out > 0 {
                log::warn!("{left_out} lines of the metric {metric} in the checkpoint are no numbers");
            }
        }
    }

    fn append(&mut self, id: &MetricId, text: &str, epoch: usize, split: &Split) {
        if let Some(files) = &mut self.files {
            files.append(id, text, epoch, split);
        }
    }
}

impl MetricLogger for MetricTap {
    fn log(&mut self, mut update: MetricsUpdate, epoch: usize, split: &Split) {
        if let Some(call) = self.at_first_update.take() {
            call();
        }
        if let Some(resumed) = self.resumed.take_if(|resumed| resumed.epoch == epoch) {
            self.resume(resumed);
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.memory.forget_until(self.history.epochs());
        }
        if *split == Split::Train {
            self.means.complete(epoch, &mut update, &self.names, &self.history);
            let lines = entries(&update).filter_map(|entry| {
                let name = self.names.get(&entry.metric_id)?;
                Some((name.as_str(), entry.serialized_entry.serialized.as_str()))
            });
            self.history.log(epoch, lines);
        }
        self.table.lock().update(&update, split);
        for entry in entries(&update) {
            let line = &entry.serialized_entry.serialized;
            self.memory.add(&entry.metric_id, line, epoch, split);
            if self.files.is_some() {
                self.append(&entry.metric_id, &format!("{line}\n"), epoch, split);
            }
        }
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        // Never from the files: an epoch may have been trained in another directory, or files be left of epochs that this
        // run has not come to.
        if !self.history.may_see(epoch) {
            return Ok(Vec::new());
        }
        let full_name = self.table.lock().full_name(name, split);
        let done = full_name.and_then(|full_name| self.history.value(&full_name, epoch));
        let value = done.or_else(|| self.memory.value(&self.id(name)?, epoch, split));
        Ok(value.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.table.lock().register(&definition);
        self.names.insert(definition.metric_id.clone(), Arc::clone(&definition.name));
        if let Some(files) = &mut self.files {
            files.define(&definition);
        }
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// What burn's file logger writes of an update: all but the placeholders.
fn entries(update: &MetricsUpdate) -> impl Iterator<Item = &MetricEntry> {
    let numeric = update.entries_numeric.iter().map(|metric| &metric.entry);
    update.entries.iter().chain(numeric).filter(|entry| !entry.serialized_entry.is_not_available())
}
