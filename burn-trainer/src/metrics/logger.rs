//! The metric logger of a run: it fills the table and the history, writes the metric files, and answers
//! burn's questions.

pub(super) mod logger_slot;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricEntry, MetricId, MetricName, NumericEntry};

use super::line_chunks::Entries;
use super::metric_files::MetricFiles;
use super::resumed_means::EpochMeans;
use super::run_metrics::{END_OF_EPOCH, RunMetrics};
use crate::process::last_panic;
use crate::validation_sets::MetricOnSet;

/// Bytes of text that one write appends when the files of a resumed epoch are restored.
const BLOCK: usize = 1 << 16;

/// A metric logger that fills the table and the history of a run, and writes burn's metric files.
pub(crate) struct RunMetricLogger {
    metrics: RunMetrics,
    /// `None` in a process that writes nothing.
    files: Option<MetricFiles>,
    names: HashMap<MetricId, MetricName>,
    resumed: Option<ResumedEpoch>,
    means: EpochMeans,
    epoch: usize,
    /// The validation whose lines came last.
    validation: u64,
    /// How many validations of the epoch are in the file of their values.
    written_validations: usize,
    /// Called before the first update is logged.
    at_first_update: Option<Box<dyn FnOnce() + Send>>,
}

/// The epoch in which a run is resumed.
#[derive(Clone, Copy)]
struct ResumedEpoch {
    /// burn's number of the epoch.
    epoch: usize,
    /// Whether the metric files in the directory are those of this run.
    has_own_files: bool,
}

impl RunMetricLogger {
    pub(crate) fn new(metrics: RunMetrics) -> Self {
        Self {
            metrics,
            files: None,
            names: HashMap::new(),
            resumed: None,
            means: EpochMeans::default(),
            epoch: 0,
            validation: 0,
            written_validations: 0,
            at_first_update: None,
        }
    }

    /// Calls a function before the first update is logged, when every metric is registered. burn waits for
    /// the call.
    pub(crate) fn at_first_update(&mut self, call: impl FnOnce() + Send + 'static) {
        self.at_first_update = Some(Box::new(call));
    }

    /// Keeps burn's metric files in a directory: writes them if that `is_on`, and removes those that are out
    /// of date.
    pub(crate) fn with_files(mut self, run_dir: &Path, is_on: bool) -> Self {
        self.files = Some(MetricFiles::new(run_dir, is_on));
        self
    }

    /// Resumes in an epoch (burn's number) of which the history has the beginning. With `has_own_files` the
    /// checkpoint is one of the directory's own run: files of later epochs come from steps after the
    /// checkpoint, and are removed.
    pub(crate) fn resumed_in(mut self, epoch: usize, has_own_files: bool) -> Self {
        self.resumed = Some(ResumedEpoch { epoch, has_own_files });
        self
    }

    /// The id of a metric, by burn's name of it.
    fn id(&self, metric: &str) -> Option<MetricId> {
        self.names.iter().find_map(|(id, name)| (name.as_str() == metric).then(|| id.clone()))
    }

    /// Registers a metric: on a named validation set, or on the training and the main one.
    fn register(&mut self, definition: &MetricDefinition, set: Option<String>, is_directed: bool) {
        self.metrics.table.lock().register(definition, set, is_directed);
        self.names.insert(definition.metric_id.clone(), Arc::clone(&definition.name));
        if let Some(files) = &mut self.files {
            files.define(definition);
        }
    }

    /// An epoch logs its first update; or its values are asked for at its end, if nothing of a resumed epoch
    /// was left that logs.
    fn enter(&mut self, epoch: usize) {
        if let Some(resumed) = self.resumed.take_if(|resumed| resumed.epoch == epoch) {
            self.resume(resumed);
        }
        if self.epoch != epoch {
            (self.epoch, self.written_validations) = (epoch, 0);
            let done = self.metrics.history.epochs();
            self.metrics.logged.lock().forget_until(done);
        }
    }

    /// Restores the metrics of a partially finished epoch. Not before they are needed, so that a failure
    /// before it leaves the files as they were.
    fn resume(&mut self, resumed: ResumedEpoch) {
        let epoch = resumed.epoch;
        if let Some(files) = self.files.as_ref().filter(|_| resumed.has_own_files) {
            files.remove_later(epoch);
        }
        let (entries, no_means) = self.metrics.history.entries(epoch);
        let validation = self.metrics.history.validation_entries(epoch);
        self.restore_lines(resumed, &Split::Train, &entries);
        self.restore_lines(resumed, &Split::Valid, &validation);
        self.means = EpochMeans::resumed(epoch, &entries, &no_means, |metric| self.id(metric));
    }

    /// Writes the lines of a partially finished epoch to its files again, and counts them in `logged`.
    fn restore_lines(&mut self, resumed: ResumedEpoch, split: &Split, entries: &Entries) {
        let epoch = resumed.epoch;
        for (metric, lines) in entries {
            let Some(id) = self.id(metric) else { continue };
            let before = lines.before();
            self.metrics.logged.lock().begin_after(&id, &before, epoch, split);
            if let Some(files) = self.files.as_mut().filter(|_| resumed.has_own_files && before.lines > 0) {
                files.begin_after(&id, before.lines, epoch, split);
            }
            let is_numeric = self.metrics.table.lock().is_numeric(&id);
            let (mut text, mut left_out) = (String::new(), 0);
            for (_, line) in lines.iter() {
                // burn's summary of a run panics on text in a numeric metric. No run writes such a line.
                if is_numeric && NumericEntry::deserialize(line).is_err() {
                    left_out += 1;
                    continue;
                }
                self.metrics.logged.lock().add(&id, line, epoch, split);
                text.push_str(line);
                text.push('\n');
                if text.len() > BLOCK {
                    self.append(&id, &text, epoch, split);
                    text.clear();
                }
            }
            if !text.is_empty() {
                self.append(&id, &text, epoch, split);
            }
            if left_out > 0 {
                log::warn!("{left_out} lines of the metric {metric} in the checkpoint are not numbers");
            }
        }
    }

    /// Removes the lines of the epoch's validation before, if it has had one.
    fn begin_validation(&mut self, epoch: usize) {
        let validation = self.metrics.history.validation();
        if std::mem::replace(&mut self.validation, validation) != validation {
            self.metrics.logged.lock().forget(epoch, &Split::Valid);
            if let Some(files) = &mut self.files {
                files.start_again(epoch, &Split::Valid);
            }
        }
    }

    /// Writes the values of the epoch's validations that are not in their file yet.
    fn write_validations(&mut self) {
        let Some(files) = &mut self.files else { return };
        for line in self.metrics.history.validation_rows(self.epoch, self.written_validations) {
            files.append_validation(&line, self.epoch);
            self.written_validations += 1;
        }
    }

    fn append(&mut self, id: &MetricId, text: &str, epoch: usize, split: &Split) {
        if let Some(files) = &mut self.files {
            files.append(id, text, epoch, split);
        }
    }
}

/// burn's store drops its loggers while its thread unwinds. burn keeps no message of such a panic.
impl Drop for RunMetricLogger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = last_panic::of_this_thread();
            let unknown = || "a metric logger has panicked; its message stands above".to_owned();
            let _ = self.metrics.store_panic.set(message.unwrap_or_else(unknown));
        }
    }
}

impl MetricLogger for RunMetricLogger {
    fn log(&mut self, mut update: MetricsUpdate, epoch: usize, split: &Split) {
        if let Some(call) = self.at_first_update.take() {
            call();
        }
        if *split == Split::Valid && self.metrics.history.is_trial() {
            let update = self.metrics.sets.rename_update(update);
            self.metrics.table.lock().note_tried(&update);
            return;
        }
        if let Some(files) = &mut self.files {
            files.warn_of_mixed(&update);
        }
        self.enter(epoch);
        self.write_validations();
        if *split == Split::Valid {
            update = self.metrics.sets.rename_update(update);
            self.begin_validation(epoch);
            self.metrics.history.log_validation(lines(&update, &self.names));
        }
        if *split == Split::Train {
            self.means.complete(epoch, &mut update, &self.names, &self.metrics.history);
            let values = self.metrics.table.lock().values_of_batch(&update);
            let batch = self.metrics.history.updates(epoch).saturating_add(1);
            self.metrics.log.log_batch(epoch.saturating_sub(1) as u64, batch, values);
        }
        self.metrics.table.lock().update(&update, split);
        for entry in entries(&update) {
            let line = &entry.serialized_entry.serialized;
            self.metrics.logged.lock().add(&entry.metric_id, line, epoch, split);
            if self.files.is_some() {
                self.append(&entry.metric_id, &format!("{line}\n"), epoch, split);
            }
        }
        if *split == Split::Train {
            // Last: it counts the update, and a save that waits for the count takes all of the above.
            self.metrics.history.log(epoch, lines(&update, &self.names));
        }
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        // A validation that has ended asks, so that its values are written now.
        self.write_validations();
        // Never from the files: an epoch may have been trained in another directory, and files of epochs can
        // be left that this run has not reached.
        if !self.metrics.history.may_see(epoch) {
            return Ok(Vec::new());
        }
        // The name of no metric only waits for what was sent.
        let asks_for_values = name == END_OF_EPOCH || self.id(name).is_some();
        if asks_for_values && self.resumed.is_some_and(|resumed| resumed.epoch == epoch) {
            self.enter(epoch);
            self.write_validations();
        }
        let full_name = self.metrics.table.lock().full_name(name, split);
        let done = full_name.and_then(|full_name| self.metrics.history.value(&full_name, epoch));
        let logged = || self.metrics.logged.lock().value(&self.id(name)?, epoch, split);
        let value = done.or_else(logged);
        Ok(value.map(NumericEntry::Final).into_iter().collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        let is_directed = self.metrics.table.lock().is_directed(&definition.name);
        self.register(&definition, None, is_directed);
        for MetricOnSet { set, definition } in self.metrics.sets.register(&definition) {
            self.register(&definition, Some(set), is_directed);
        }
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// The lines of an update, by burn's names of the metrics.
fn lines<'a>(
    update: &'a MetricsUpdate,
    names: &'a HashMap<MetricId, MetricName>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    entries(update).filter_map(|entry| {
        let name = names.get(&entry.metric_id)?;
        Some((name.as_str(), entry.serialized_entry.serialized.as_str()))
    })
}

/// The entries of an update that burn's file logger writes: all but the placeholders.
fn entries(update: &MetricsUpdate) -> impl Iterator<Item = &MetricEntry> {
    let numeric = update.entries_numeric.iter().map(|metric| &metric.entry);
    update.entries.iter().chain(numeric).filter(|entry| !entry.serialized_entry.is_not_available())
}

#[cfg(test)]
mod tests;
