//! What a run has logged: the values of every epoch that is done, and the lines of the one in progress. It goes
//! into every checkpoint that can be resumed, so that a run that goes on, in whatever directory, has a history
//! without gaps or doubles.
//!
//! The tap's thread writes the lines, the loop closes the epochs, and the writer's thread makes a section of
//! what there was at the time of a save.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn_ckpt::Section;

use super::history_format::{Entries, EpochValues, History};

/// The history of a run as it goes.
#[derive(Debug, Default, Clone)]
pub(crate) struct SharedHistory(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    /// The values of the epochs that are done. The last ones may be missing: a checkpoint can be without a history.
    epochs: Arc<Vec<EpochValues>>,
    /// Epochs that are done.
    done: usize,
    /// The last epoch, by burn's number, that may be asked about.
    until: Option<usize>,
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
        let entries = history.entries.into_iter().map(|(metric, lines)| (metric, lines.until(updates)));
        let current = EpochLog { epoch, updates, entries: entries.collect(), no_means };
        let done = epoch.saturating_sub(1);
        let mut epochs = history.epochs;
        epochs.truncate(done);
        let current = Arc::new(Mutex::new(current));
        *lock(&self.0) = Log { epochs: Arc::new(epochs), done, until: None, current };
    }

    /// From here on, epochs after this one (burn's number) are not known to who asks: early stopping, when it is shown
    /// the epochs that are done once more, is to see what it saw then.
    pub(crate) fn see_until(&self, epoch: usize) {
        lock(&self.0).until = Some(epoch);
    }

    pub(super) fn may_see(&self, epoch: usize) -> bool {
        lock(&self.0).until.is_none_or(|until| epoch <= until)
    }

    /// The lines of an epoch so far, and which of the metrics are no means.
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
        let number = current.updates.saturating_add(1);
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

    /// Adds the lines of an update of the training split, by burn's names of the metrics.
    pub(super) fn log<'a>(&self, epoch: usize, lines: impl Iterator<Item = (&'a str, &'a str)>) {
        let current = self.current(epoch);
        let mut current = lock(&current);
        current.updates = current.updates.saturating_add(1);
        let number = current.updates;
        for (metric, line) in lines {
            match current.entries.get_mut(metric) {
                Some(lines) => lines.push(number, line),
                None => current.entries.entry(metric.to_owned()).or_default().push(number, line),
            }
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
        lock(&self.0).done
    }

    /// Ends an epoch with its values.
    pub(crate) fn close_epoch(&self, values: EpochValues) {
        let mut log = lock(&self.0);
        let Log { epochs, done, current, .. } = &mut *log;
        let epochs = Arc::make_mut(epochs);
        // Only here: how many are done is what a checkpoint says, and by now an epoch after them has been trained.
        epochs.resize_with(*done, EpochValues::default);
        epochs.push(values);
        *done += 1;
        *current = Arc::default();
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
        let current = lock(&self.current);
        let entries =
            current.entries.iter().map(|(metric, lines)| (metric.clone(), lines.until(self.updates)));
        let entries = entries.filter(|(_, lines)| !lines.is_empty()).collect();
        let no_means = current.no_means.iter().filter(|(number, _)| *number <= self.updates);
        let no_means = no_means.map(|(_, metric)| metric.clone()).collect();
        // Metrics are logged while the JSON of a long epoch is made.
        drop(current);
        History { epochs: self.epochs.to_vec(), entries, no_means }.section()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;

    fn line(text: &str) -> impl Iterator<Item = (&str, &str)> {
        std::iter::once(("Loss", text))
    }

    fn read(at: &HistoryAt) -> History {
        History::from_section(at.section().unwrap()).unwrap()
    }

    fn losses(entries: &Entries) -> Vec<(u64, &str)> {
        entries["Loss"].iter().collect()
    }

    fn values(value: f64) -> EpochValues {
        EpochValues(IndexMap::from([("train_loss".to_owned(), value)]))
    }

    #[test]
    fn a_save_has_what_had_been_logged_at_its_step_however_late_it_is_written() {
        let history = SharedHistory::default();
        history.log(1, line("a"));
        history.log(1, line("b"));
        let at = history.at(1);
        history.log(1, line("c"));
        history.close_epoch(values(f64::NAN));
        history.log(2, line("d"));
        let read_back = read(&at);
        assert_eq!(losses(&read_back.entries), [(1, "a")]);
        assert!(read_back.epochs.is_empty());

        let later = read(&history.at(1));
        assert_eq!(losses(&later.entries), [(1, "d")]);
        assert!(later.epochs[0].0["train_loss"].is_nan());
    }

    #[test]
    fn a_resumed_history_goes_on_with_the_next_number() {
        let history = SharedHistory::default();
        history.log(3, line("a"));
        history.log(3, line("not in the state"));
        let stopped = read(&history.at(2));
        let resumed = SharedHistory::default();
        resumed.restore(stopped, 3, 1);
        resumed.log(3, line("b"));
        assert_eq!(resumed.updates(3), 2);
        assert_eq!(losses(&resumed.entries(3).0), [(1, "a"), (2, "b")]);
        assert!(resumed.entries(4).0.is_empty());
    }

    #[test]
    fn an_epoch_has_its_place_also_after_some_that_the_checkpoint_knows_nothing_of() {
        let resumed = SharedHistory::default();
        resumed.restore(History { epochs: vec![values(0.5)], ..History::default() }, 4, 0);
        assert_eq!((resumed.epochs(), resumed.value("train_loss", 3)), (3, None));
        resumed.close_epoch(values(0.25));
        assert_eq!(resumed.epochs(), 4);
        let again = SharedHistory::default();
        again.restore(read(&resumed.at(0)), 5, 0);
        let seen: Vec<_> = (1..=5).map(|epoch| again.value("train_loss", epoch)).collect();
        assert_eq!(seen, [Some(0.5), None, None, Some(0.25), None]);
    }

    #[test]
    fn what_a_checkpoint_says_takes_no_memory_and_overflows_nothing() {
        let resumed = SharedHistory::default();
        resumed.restore(History::default(), usize::MAX, u64::MAX);
        resumed.is_no_mean(usize::MAX, "Loss");
        resumed.log(usize::MAX, line("a"));
        assert_eq!(resumed.epochs(), usize::MAX - 1);
        // More epochs than are done are from another time.
        resumed.restore(History { epochs: vec![values(0.5); 3], ..History::default() }, 2, 0);
        assert_eq!((resumed.value("train_loss", 1), resumed.value("train_loss", 2)), (Some(0.5), None));
    }
}
