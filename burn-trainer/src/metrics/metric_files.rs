//! The metric files, in the layout of burn's `FileMetricLogger`: `{train|valid}/epoch-{n}/{Name}.log`, a line
//! an entry.
//!
//! burn's own logger ends training when the disk is full. Here such a failure is a warning. The lines are
//! kept and written when the next split begins, or at the end; a line at the end names the files that stay
//! incomplete.

mod epoch_file;
mod names;
mod remove_epochs;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::train::metric::store::{MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, MetricName};
use burn_ckpt::chain;

use crate::process::console::warn;
use epoch_file::{EPOCH_PREFIX, METRIC_SUFFIX, MetricFile, VALIDATIONS};
pub(crate) use names::check_file_names;
use names::file_names;
pub(crate) use remove_epochs::remove_metric_files;

/// Files of earlier epochs whose lines are kept until they can be written. Of more, the lines are lost.
const MAX_INCOMPLETE: usize = 64;
/// Incomplete files that the line at the end names.
const SHOWN_INCOMPLETE: usize = 3;

/// Writes the metric files of a run.
pub(super) struct MetricFiles {
    run_dir: PathBuf,
    /// burn's names of the metrics.
    metrics: HashMap<MetricId, MetricName>,
    /// The names of their files, once they are known.
    names: HashMap<MetricId, String>,
    /// The metrics of which two log under one name.
    mixed: HashSet<MetricId>,
    files: HashMap<(MetricId, Split), MetricFile>,
    /// Files of earlier epochs in which lines are missing.
    incomplete: Vec<MetricFile>,
    epoch: usize,
    split: Option<Split>,
    /// The values of each validation of the epoch.
    validations: Option<MetricFile>,
    /// Whether a write failed in this epoch.
    failed: bool,
    /// Whether the failure was reported, in this epoch or in an earlier one without a success since.
    reported: bool,
    /// Whether files are written, and not only those removed that are out of date.
    is_on: bool,
}

impl MetricFiles {
    pub(super) fn new(run_dir: &Path, is_on: bool) -> Self {
        Self {
            run_dir: run_dir.to_path_buf(),
            metrics: HashMap::new(),
            names: HashMap::new(),
            mixed: HashSet::new(),
            files: HashMap::new(),
            incomplete: Vec::new(),
            epoch: 0,
            split: None,
            validations: None,
            failed: false,
            reported: false,
            is_on,
        }
    }

    /// Registers a metric's name. All are registered before the first line is appended.
    pub(super) fn define(&mut self, definition: &MetricDefinition) {
        self.metrics.insert(definition.metric_id.clone(), Arc::clone(&definition.name));
        self.names.clear();
    }

    /// Warns once for each name under which two metrics log: burn takes them for one.
    pub(super) fn warn_of_mixed(&mut self, update: &MetricsUpdate) {
        let numeric = update.entries_numeric.iter().map(|metric| &metric.entry);
        let mut seen = HashSet::new();
        for entry in update.entries.iter().chain(numeric) {
            let id = &entry.metric_id;
            if !seen.insert(id) && self.mixed.insert(id.clone()) {
                let name = self.metrics.get(id).map_or("", |name| name.as_str());
                warn(&format!(
                    "two metrics are called {name:?}, and their values are mixed: give one of them another name"
                ));
            }
        }
    }

    /// Keeps the first lines of a metric's file of an epoch (burn's number): a checkpoint has the later ones
    /// alone. A file that does not have them begins without them, which is said.
    pub(super) fn begin_after(&mut self, id: &MetricId, lines: u64, epoch: usize, split: &Split) {
        if !self.is_on {
            return;
        }
        let Some(path) = self.path(id, epoch, split) else { return };
        self.files.insert((id.clone(), split.clone()), MetricFile::after(path, epoch, lines));
    }

    /// Appends lines, each with its line break, to a metric's file of an epoch (burn's number). The first
    /// call for an epoch creates the file, or empties it.
    pub(super) fn append(&mut self, id: &MetricId, text: &str, epoch: usize, split: &Split) {
        if !self.is_on {
            return;
        }
        if self.epoch != epoch {
            (self.epoch, self.reported, self.failed) = (epoch, self.reported && self.failed, false);
        }
        if self.split.as_ref() != Some(split) {
            self.split = Some(split.clone());
            self.complete();
        }
        let key = (id.clone(), split.clone());
        if self.files.get(&key).is_none_or(|file| file.epoch != epoch) {
            let Some(path) = self.path(id, epoch, split) else { return };
            let before = self.files.insert(key.clone(), MetricFile::new(path, epoch));
            self.keep_incomplete(before);
        }
        let Some(file) = self.files.get_mut(&key) else { return };
        if let Err(error) = file.lines.append(text) {
            let path = file.lines.path().to_path_buf();
            self.report(&path, &error);
        }
    }

    /// Appends the values of a validation in an epoch (burn's number).
    pub(super) fn append_validation(&mut self, line: &str, epoch: usize) {
        if !self.is_on {
            return;
        }
        if self.validations.as_ref().is_none_or(|file| file.epoch != epoch) {
            let path = self.epoch_directory(epoch, &Split::Valid).join(VALIDATIONS);
            let before = self.validations.replace(MetricFile::new(path, epoch));
            self.keep_incomplete(before);
        }
        let Some(file) = &mut self.validations else { return };
        if let Err(error) = file.lines.append(&format!("{line}\n")) {
            let path = file.lines.path().to_path_buf();
            self.report(&path, &error);
        }
    }

    /// Keeps the file of an earlier epoch if lines of it could not be written.
    fn keep_incomplete(&mut self, before: Option<MetricFile>) {
        self.incomplete.extend(before.filter(|file| file.lines.is_incomplete()));
        if self.incomplete.len() > MAX_INCOMPLETE {
            self.incomplete.remove(0).lines.forget_lines();
        }
    }

    /// Removes the lines of a split in an epoch: others take their place.
    pub(super) fn start_again(&mut self, epoch: usize, split: &Split) {
        for (_, file) in self.files.extract_if(|(_, of), file| of == split && file.epoch == epoch) {
            let path = file.lines.path().to_path_buf();
            if let Err(error) = file.lines.remove() {
                let (path, error) = (path.display(), chain(&error));
                warn(&format!("the metric file {path} of an earlier validation stays: {error}"));
            }
        }
    }

    /// Reports that a file cannot be written, once.
    fn report(&mut self, path: &Path, error: &io::Error) {
        self.failed = true;
        if !std::mem::replace(&mut self.reported, true) {
            let message = format!(
                "the metric file {} cannot be written: {}. Training continues, and its lines are kept and written when that is \
                 possible",
                path.display(),
                chain(error)
            );
            warn(&message);
        }
    }

    /// All files that are in use, those of earlier epochs only where lines are missing.
    fn all(&mut self) -> impl Iterator<Item = &mut MetricFile> {
        self.incomplete.iter_mut().chain(self.files.values_mut()).chain(&mut self.validations)
    }

    /// Writes the lines that could not be written before, as far as that is possible now.
    fn complete(&mut self) {
        for file in self.all() {
            // It was reported when it failed first, and the line at the end names it.
            if let Err(error) = file.lines.complete() {
                log::debug!("{} is still incomplete: {error}", file.lines.path().display());
            }
        }
        self.incomplete.retain(|file| file.lines.is_incomplete());
    }

    fn path(&mut self, id: &MetricId, epoch: usize, split: &Split) -> Option<PathBuf> {
        if self.names.is_empty() {
            let (ids, names): (Vec<_>, Vec<_>) = self.metrics.clone().into_iter().unzip();
            self.names = ids.into_iter().zip(file_names(&names)).collect();
        }
        let name = self.names.get(id)?;
        Some(self.epoch_directory(epoch, split).join(format!("{name}{METRIC_SUFFIX}")))
    }

    fn epoch_directory(&self, epoch: usize, split: &Split) -> PathBuf {
        self.run_dir.join(split.to_string()).join(format!("{EPOCH_PREFIX}{epoch}"))
    }

    /// Removes the files of epochs after this one (burn's number), and the validation's files of this one:
    /// they come from steps after the checkpoint that the run resumes from.
    pub(super) fn remove_later(&self, epoch: usize) {
        for (split, first) in [(Split::Train, epoch.saturating_add(1)), (Split::Valid, epoch)] {
            if let Err(error) = remove_metric_files(&self.run_dir, &split, first) {
                let why = chain(&error);
                warn(&format!(
                    "metric files of steps after the checkpoint cannot be removed, and stay: {why}"
                ));
            }
        }
    }
}

/// The run has ended, and so has its last chance to complete a file.
impl Drop for MetricFiles {
    fn drop(&mut self) {
        self.complete();
        let files = self.all().filter(|file| file.lines.is_incomplete());
        let mut names: Vec<String> = files.map(|file| file.lines.path().display().to_string()).collect();
        if names.is_empty() {
            return;
        }
        names.sort();
        let more = names.len().saturating_sub(SHOWN_INCOMPLETE);
        names.truncate(SHOWN_INCOMPLETE);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        warn(&format!(
            "metric files are incomplete, as they could not be written: {}{more}",
            names.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::train::metric::{MetricAttributes, MetricEntry, SerializedEntry};
    use std::fs;
    use tempfile::tempdir;

    fn files(run_dir: &Path, name: &str) -> (MetricFiles, MetricId) {
        let name = Arc::new(name.to_owned());
        let metric_id = MetricId::new(name.clone());
        let mut files = MetricFiles::new(run_dir, true);
        let attributes = MetricAttributes::None;
        files.define(&MetricDefinition { metric_id: metric_id.clone(), name, description: None, attributes });
        (files, metric_id)
    }

    #[test]
    fn two_metrics_of_one_name_are_noticed_once() {
        let root = tempdir().unwrap();
        let (mut files, id) = files(root.path(), "Loss");
        let entry = || MetricEntry::new(id.clone(), SerializedEntry::new(String::new(), "1".to_owned()));
        files.warn_of_mixed(&MetricsUpdate::new(vec![entry()], Vec::new()));
        assert!(files.mixed.is_empty());
        for _ in 0..2 {
            files.warn_of_mixed(&MetricsUpdate::new(vec![entry(), entry()], Vec::new()));
            assert!(files.mixed.len() == 1 && files.mixed.contains(&id));
        }
    }

    #[test]
    fn a_new_process_empties_a_file_and_the_name_is_burns() {
        let root = tempdir().unwrap();
        for text in ["1\n2\n", "3\n"] {
            let (mut files, id) = files(root.path(), "My Loss");
            for line in text.split_inclusive('\n') {
                files.append(&id, line, 2, &Split::Train);
            }
            let path = root.path().join("train/epoch-2/My_Loss.log");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }

    #[test]
    fn a_failure_lasts_for_the_epoch_and_is_reported_again_after_an_epoch_without_one() {
        let root = tempdir().unwrap();
        let (mut files, id) = files(root.path(), "Loss");
        fs::create_dir(root.path().join("valid")).unwrap();
        for epoch in [1, 2, 4] {
            fs::write(root.path().join(format!("valid/epoch-{epoch}")), "in the way").unwrap();
        }
        let mut reported = Vec::new();
        for epoch in 1..=4 {
            files.append(&id, "1\n", epoch, &Split::Valid);
            files.append(&id, "2\n", epoch, &Split::Valid);
            reported.push((files.reported, files.failed));
        }
        // Epoch 3 is written, so that epoch 4 is a new failure.
        assert_eq!(reported, [(true, true), (true, true), (true, false), (true, true)]);
        assert_eq!(fs::read_to_string(root.path().join("valid/epoch-3/Loss.log")).unwrap(), "1\n2\n");
    }

    #[test]
    fn a_file_that_failed_is_complete_when_the_next_split_or_the_end_comes() {
        let root = tempdir().unwrap();
        let in_the_way = root.path().join("train");
        let read = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
        for epoch in [1, 2] {
            fs::write(&in_the_way, "in the way").unwrap();
            let (mut files, id) = files(root.path(), "Loss");
            files.append(&id, "1\n", epoch, &Split::Train);
            files.append(&id, "2\n", epoch, &Split::Train);
            fs::remove_file(&in_the_way).unwrap();
            if epoch == 1 {
                files.append(&id, "3\n", epoch, &Split::Valid);
                assert_eq!(read("train/epoch-1/Loss.log"), "1\n2\n");
                files.append(&id, "4\n", epoch, &Split::Train);
                assert_eq!(read("train/epoch-1/Loss.log"), "1\n2\n4\n");
                fs::remove_dir_all(&in_the_way).unwrap();
            }
        }
        assert_eq!(read("train/epoch-2/Loss.log"), "1\n2\n");
    }
}
