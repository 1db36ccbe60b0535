//! What a run has logged: the values of every epoch that is done, and the entries of the one in progress. It goes
//! into every checkpoint that can be resumed, so that a run that goes on, in whatever directory, has a history
//! without gaps or doubles.
//!
//! The tap's thread writes the entries, the loop closes the epochs, and the writer's thread makes a section of
//! what there was at the time of a save.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Bytes, DType, Shape};
use burn_ckpt::Section;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The one tensor of the section: JSON as bytes. (In the container's header it would be read whenever a checkpoint is
/// looked at.)
const TENSOR: &str = "metrics";

/// A run's history as it stands in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The values of the epochs that are done, the first one first.
    pub(crate) epochs: Vec<EpochValues>,
    /// What the training split of the epoch in progress has logged, by burn's names of the metrics.
    pub(crate) entries: Entries,
    /// Which of these metrics are no means over the batches.
    #[serde(default)]
    pub(crate) no_means: Vec<String>,
}

/// The values of one epoch by the metrics' full names, as burn's early stopping sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EpochValues(#[serde(with = "burn_ckpt::numbers")] pub(crate) IndexMap<String, f64>);

/// For each metric the number of the batch, counted from 1, and the line that burn's file logger writes for it. The
/// epoch's final value has the number after the last batch's.
pub(crate) type Entries = IndexMap<String, Vec<(u64, String)>>;

/// The history of a run as it goes.
#[derive(Debug, Default, Clone)]
pub(crate) struct SharedHistory(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    epochs: Arc<Vec<EpochValues>>,
    current: Arc<Mutex<EpochLog>>,
}

/// The training split of one epoch, which a save may still need when the loop is in the next one.
#[derive(Debug, Default)]
struct EpochLog {
    /// burn's number of the epoch.
    epoch: usize,
    /// Updates that were logged, with those before a resume.
    updates: u64,
    entries: Entries,
    /// With the number of the update that showed it.
    no_means: Vec<(u64, String)>,
}

/// The history up to some point.
pub(crate) struct HistoryAt {
    epochs: Arc<Vec<EpochValues>>,
    current: Arc<Mutex<EpochLog>>,
    updates: u64,
}

impl SharedHistory {
    /// Goes on with the history of a checkpoint, in whose epoch (burn's number) so many updates have been logged.
    pub(crate) fn restore(&self, history: History, epoch: usize, updates: u64) {
        let no_means = history.no_means.into_iter().map(|metric| (0, metric)).collect();
        let current = EpochLog { epoch, updates, entries: history.entries, no_means };
        let current = Arc::new(Mutex::new(current));
        *lock(&self.0) = Log { epochs: Arc::new(history.epochs), current };
    }

    /// The entries of an epoch so far, and which of the metrics are no means.
    pub(super) fn entries(&self, epoch: usize) -> (Entries, Vec<String>) {
        let current = Arc::clone(&lock(&self.0).current);
        let current = lock(&current);
        match current.epoch == epoch {
            true => {
                let no_means = current.no_means.iter().map(|(_, metric)| metric.clone()).collect();
                (current.entries.clone(), no_means)
            }
            false => Default::default(),
        }
    }

    /// Notes that the update which is about to be logged shows a metric to be no mean over the batches.
    pub(super) fn is_no_mean(&self, epoch: usize, metric: &str) {
        let current = self.current(epoch);
        let mut current = lock(&current);
        let number = current.updates + 1;
        current.no_means.push((number, metric.to_owned()));
    }

    /// The log of an epoch, begun if need be.
    fn current(&self, epoch: usize) -> Arc<Mutex<EpochLog>> {
        let mut log = lock(&self.0);
        if lock(&log.current).epoch != epoch {
            log.current = Arc::new(Mutex::new(EpochLog { epoch, ..EpochLog::default() }));
        }
        Arc::clone(&log.current)
    }

    /// Adds the lines of an update of the training split.
    pub(super) fn log(&self, epoch: usize, lines: impl Iterator<Item = (String, String)>) {
        let current = self.current(epoch);
        let mut current = lock(&current);
        current.updates += 1;
        let number = current.updates;
        for (metric, line) in lines {
            current.entries.entry(metric).or_default().push((number, line));
        }
    }

    /// How many updates the training split of an epoch has logged.
    pub(crate) fn updates(&self, epoch: usize) -> u64 {
        let current = Arc::clone(&lock(&self.0).current);
        let current = lock(&current);
        if current.epoch == epoch { current.updates } else { 0 }
    }

    /// Epochs that have ended.
    pub(crate) fn epochs(&self) -> usize {
        lock(&self.0).epochs.len()
    }

    /// Ends an epoch with its values.
    pub(crate) fn close_epoch(&self, values: EpochValues) {
        let mut log = lock(&self.0);
        Arc::make_mut(&mut log.epochs).push(values);
        log.current = Arc::default();
    }

    /// The value of a metric in an epoch that is done, by burn's number of it.
    pub(super) fn value(&self, full_name: &str, epoch: usize) -> Option<f64> {
        let log = lock(&self.0);
        log.epochs.get(epoch.checked_sub(1)?)?.0.get(full_name).copied()
    }

    /// The history with so many updates of the epoch in progress. Copies nothing.
    pub(crate) fn at(&self, updates: u64) -> HistoryAt {
        let log = lock(&self.0);
        HistoryAt { epochs: Arc::clone(&log.epochs), current: Arc::clone(&log.current), updates }
    }
}

impl HistoryAt {
    /// The section for a checkpoint.
    pub(crate) fn section(&self) -> burn_ckpt::Result<Section> {
        let until = |lines: &[(u64, String)]| -> Vec<_> {
            lines.iter().take_while(|(number, _)| *number <= self.updates).cloned().collect()
        };
        let current = lock(&self.current);
        let entries = current.entries.iter().map(|(metric, lines)| (metric.clone(), until(lines)));
        let history = History {
            epochs: self.epochs.to_vec(),
            entries: entries.filter(|(_, lines)| !lines.is_empty()).collect(),
            no_means: until(&current.no_means).into_iter().map(|(_, metric)| metric).collect(),
        };
        drop(current);
        let json = serde_json::to_vec(&history)
            .map_err(|error| burn_ckpt::Error::Snapshot(format!("the history is no JSON: {error}")))?;
        let shape = Shape::new([json.len()]);
        let bytes = Bytes::from_bytes_vec(json);
        let tensor = burn_ckpt::burn_pack::Tensor::new(TENSOR.to_owned(), DType::U8, shape, None, bytes);
        Ok(Section { tensors: vec![tensor], ..Section::default() })
    }
}

impl History {
    /// Reads the section again. The error says what is wrong with it.
    pub(crate) fn from_section(section: Section) -> Result<Self, String> {
        let tensor = section.tensors.into_iter().find(|tensor| tensor.name == TENSOR);
        let tensor = tensor.ok_or_else(|| format!("it has no {TENSOR}"))?;
        let (_, _, _, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> impl Iterator<Item = (String, String)> {
        std::iter::once(("Loss".to_owned(), text.to_owned()))
    }

    fn read(at: &HistoryAt) -> History {
        History::from_section(at.section().unwrap()).unwrap()
    }

    #[test]
    fn a_save_has_what_had_been_logged_at_its_step_however_late_it_is_written() {
        let history = SharedHistory::default();
        history.log(1, line("a"));
        history.log(1, line("b"));
        let at = history.at(1);
        history.log(1, line("c"));
        history.close_epoch(EpochValues(IndexMap::from([("train_loss".to_owned(), f64::NAN)])));
        history.log(2, line("d"));
        let read_back = read(&at);
        assert_eq!(read_back.entries["Loss"], [(1, "a".to_owned())]);
        assert!(read_back.epochs.is_empty());

        let later = read(&history.at(1));
        assert_eq!(later.entries["Loss"], [(1, "d".to_owned())]);
        assert!(later.epochs[0].0["train_loss"].is_nan());
    }

    #[test]
    fn a_resumed_history_goes_on_with_the_next_number() {
        let history = SharedHistory::default();
        history.log(3, line("a"));
        let stopped = read(&history.at(1));
        let resumed = SharedHistory::default();
        resumed.restore(stopped, 3, 1);
        resumed.log(3, line("b"));
        assert_eq!(resumed.updates(3), 2);
        assert_eq!(resumed.entries(3).0["Loss"], [(1, "a".to_owned()), (2, "b".to_owned())]);
        assert!(resumed.entries(4).0.is_empty());
    }
}
