//! The history of a run: the values of every epoch that is done, and the lines of the epoch in progress.
//! Every checkpoint that can be resumed has it. So a resumed run, in any directory, has a history without
//! gaps or doubles.
//!
//! The logger's thread writes the lines. The loop closes the epochs. The writer's thread makes a section of
//! what had been logged at the step of a save.

mod epoch_validations;

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_ckpt::Section;
use parking_lot::Mutex;

use super::history_format::{EpochTable, EpochValues, History};
pub(super) use super::history_format::{STEP, VALIDATED_STEP};
use super::line_chunks::Entries;
use epoch_validations::{EpochValidations, ValidationUnderWay};

/// How often a wait for an update looks.
const POLL: Duration = Duration::from_millis(1);

/// How long burn may process the metrics of one batch before a save that cannot wait longer, as that of a
/// failure, continues without them.
pub(crate) const METRICS_LIMIT: Duration = Duration::from_secs(2);

/// The history of a run in progress. Clones share it.
#[derive(Debug, Default, Clone)]
pub(crate) struct SharedHistory(Arc<Mutex<HistoryState>>);

#[derive(Debug, Default)]
struct HistoryState {
    /// The values of the epochs that are done. The last ones can be missing: a checkpoint may have no
    /// history.
    epochs: Arc<EpochTable>,
    /// The number of epochs that are done.
    done: usize,
    /// The last epoch (burn's number) whose value is shown.
    until: Option<usize>,
    current: Arc<Mutex<EpochLog>>,
    validation: ValidationUnderWay,
}

/// What is logged in one epoch, which a save may still need when the loop is in the next one.
#[derive(Debug, Default)]
struct EpochLog {
    /// burn's number of the epoch.
    epoch: usize,
    /// Updates that were logged, those before a resume included.
    updates: u64,
    entries: Entries,
    /// Metrics that are not means over the batches, each with the number of the update that showed it.
    no_means: Vec<(u64, String)>,
    validations: EpochValidations,
}

/// The history up to an update of the epoch in progress.
pub(crate) struct HistoryAt {
    epochs: Arc<EpochTable>,
    current: Arc<Mutex<EpochLog>>,
    updates: u64,
    /// The step of the last validation in it, and its lines: the next one replaces those.
    validated: Option<u64>,
    valid_entries: Arc<Entries>,
    /// Whether the log has the epochs too.
    is_logged: bool,
}

impl SharedHistory {
    /// Restores the history of a checkpoint that was saved in `epoch` (burn's number), after `updates`
    /// updates.
    pub(crate) fn restore(&self, history: History, epoch: usize, updates: u64) {
        let no_means = history.no_means.into_iter().map(|metric| (0, metric)).collect();
        let entries = history.entries.into_iter().map(|(metric, lines)| (metric, lines.until(updates)));
        let validations = EpochValidations::restored(history.validations, history.valid_entries);
        let current = EpochLog { epoch, updates, entries: entries.collect(), no_means, validations };
        let done = epoch.saturating_sub(1);
        let mut epochs = history.epochs;
        if epochs.len() > done {
            Arc::make_mut(&mut epochs).set_len(done);
        }
        let current = Arc::new(Mutex::new(current));
        let validation = ValidationUnderWay::default();
        *self.0.lock() = HistoryState { epochs, done, until: None, current, validation };
    }

    /// Hides the epochs after this one (burn's number). While early stopping is replayed over finished
    /// epochs, it must see what it saw at the time.
    pub(crate) fn see_until(&self, epoch: usize) {
        self.0.lock().until = Some(epoch);
    }

    /// The optimizer step with which an epoch ended, counted from 0. `None` for one that is not known.
    pub(crate) fn step_after(&self, epoch: u64) -> Option<u64> {
        let step = self.0.lock().epochs.value(STEP, usize::try_from(epoch).ok()?)?;
        Some(step as u64)
    }

    pub(super) fn may_see(&self, epoch: usize) -> bool {
        self.0.lock().until.is_none_or(|until| epoch <= until)
    }

    /// The lines of an epoch so far, and which of the metrics are not means.
    pub(super) fn entries(&self, epoch: usize) -> (Entries, Vec<String>) {
        self.of_epoch(epoch, |log| {
            let no_means = log.no_means.iter().map(|(_, metric)| metric.clone()).collect();
            (log.entries.clone(), no_means)
        })
    }

    /// What is read from the log of an epoch. The default where that is not the epoch in progress.
    fn of_epoch<T: Default>(&self, epoch: usize, read: impl FnOnce(&EpochLog) -> T) -> T {
        let current = Arc::clone(&self.0.lock().current);
        let current = current.lock();
        if current.epoch == epoch { read(&current) } else { T::default() }
    }

    /// A validation begins. `keeps_lines`: a run that resumes after it needs them.
    pub(super) fn begin_validation(&self, keeps_lines: bool) {
        self.0.lock().validation.begin(keeps_lines);
    }

    /// A validation begins, or ends, of which nothing is kept.
    pub(crate) fn set_trial(&self, is_trial: bool) {
        self.0.lock().validation.set_trial(is_trial);
    }

    /// Whether nothing is kept of the validation.
    pub(crate) fn is_trial(&self) -> bool {
        self.0.lock().validation.is_trial
    }

    /// The number of validations that this process has begun.
    pub(super) fn validation(&self) -> u64 {
        self.0.lock().validation.number
    }

    /// Adds the lines of an update of the validation, by burn's names of the metrics.
    pub(super) fn log_validation<'a>(&self, lines: impl Iterator<Item = (&'a str, &'a str)>) {
        self.0.lock().validation.log(lines);
    }

    /// The validation is done, in an epoch. Its values are kept if they are given.
    pub(super) fn end_validation(&self, epoch: usize, values: Option<EpochValues>) {
        let lines = self.0.lock().validation.take_lines();
        if let Some(values) = values {
            self.current(epoch).lock().validations.push(values, lines);
        }
    }

    /// The lines of the last validation in an epoch.
    pub(super) fn validation_entries(&self, epoch: usize) -> Arc<Entries> {
        self.of_epoch(epoch, |log| log.validations.lines())
    }

    /// The values of the validations of an epoch after the first `count`, as JSON.
    pub(super) fn validation_rows(&self, epoch: usize, count: usize) -> Vec<String> {
        self.of_epoch(epoch, |log| log.validations.rows_after(count))
    }

    /// Notes that a metric is not a mean over the batches, as the update shows that is logged next.
    pub(super) fn note_no_mean(&self, epoch: usize, metric: &str) {
        let current = self.current(epoch);
        let mut current = current.lock();
        let number = current.updates.saturating_add(1);
        current.no_means.push((number, metric.to_owned()));
    }

    /// The log of an epoch. It is created with the first call.
    fn current(&self, epoch: usize) -> Arc<Mutex<EpochLog>> {
        let mut state = self.0.lock();
        if state.current.lock().epoch != epoch {
            state.current = Arc::new(Mutex::new(EpochLog { epoch, ..EpochLog::default() }));
        }
        Arc::clone(&state.current)
    }

    /// Adds the lines of an update of the training split, by burn's names of the metrics.
    pub(super) fn log<'a>(&self, epoch: usize, lines: impl Iterator<Item = (&'a str, &'a str)>) {
        let current = self.current(epoch);
        let mut current = current.lock();
        current.updates = current.updates.saturating_add(1);
        let number = current.updates;
        for (metric, line) in lines {
            match current.entries.get_mut(metric) {
                Some(lines) => lines.push(number, line),
                None => current.entries.entry(metric.to_owned()).or_default().push(number, line),
            }
        }
    }

    /// The number of updates that the training split of an epoch has logged.
    pub(crate) fn updates(&self, epoch: usize) -> u64 {
        self.of_epoch(epoch, |log| log.updates)
    }

    /// Waits until the training split of an epoch (burn's number) has logged `count` updates. burn's thread,
    /// which logs them, may have panicked or hang, so the wait ends when nothing new comes for `patience`.
    pub(crate) fn await_count(&self, epoch: usize, count: u64, patience: Duration) {
        let (mut seen, mut since) = (self.updates(epoch), Instant::now());
        while seen < count && since.elapsed() < patience {
            std::thread::sleep(POLL);
            let now = self.updates(epoch);
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// The number of epochs that are done.
    pub(crate) fn epochs(&self) -> usize {
        self.0.lock().done
    }

    /// Ends an epoch with its values.
    pub(crate) fn close_epoch(&self, values: EpochValues) {
        let mut state = self.0.lock();
        let HistoryState { epochs, done, current, .. } = &mut *state;
        let epochs = Arc::make_mut(epochs);
        // Only here: `done` comes from a checkpoint, and is believed once an epoch after it has been trained.
        epochs.set_len(*done);
        epochs.push(values);
        *done += 1;
        *current = Arc::default();
    }

    /// The value of a metric in an epoch (burn's number) that is done.
    pub(super) fn value(&self, full_name: &str, epoch: usize) -> Option<f64> {
        let state = self.0.lock();
        state.epochs.value(full_name, epoch.checked_sub(1)?)
    }

    /// The history with the first `updates` updates of the epoch in progress, and its validations up to a
    /// step. Copies nothing.
    pub(crate) fn at(&self, updates: u64, validated: Option<u64>) -> HistoryAt {
        let state = self.0.lock();
        let (epochs, current) = (Arc::clone(&state.epochs), Arc::clone(&state.current));
        let valid_entries = current.lock().validations.lines_of(validated);
        HistoryAt { epochs, current, updates, validated, valid_entries, is_logged: false }
    }
}

impl HistoryAt {
    /// Leaves the early epochs of a long history to the log, if that has all of them.
    pub(super) fn logged(self, is_logged: bool) -> Self {
        Self { is_logged, ..self }
    }

    /// The section for a checkpoint.
    pub(crate) fn section(&self) -> burn_ckpt::Result<Section> {
        let current = self.current.lock();
        let entries =
            current.entries.iter().map(|(metric, lines)| (metric.clone(), lines.until(self.updates)));
        let entries = entries.filter(|(_, lines)| !lines.is_empty()).collect();
        let no_means = current.no_means.iter().filter(|(number, _)| *number <= self.updates);
        let no_means = no_means.map(|(_, metric)| metric.clone()).collect();
        let validations = current.validations.until(self.validated);
        let valid_entries = Entries::clone(&self.valid_entries);
        // The JSON of a long epoch takes time. Metrics can be logged meanwhile.
        drop(current);
        let epochs = Arc::clone(&self.epochs);
        History { epochs, entries, no_means, validations, valid_entries, ..History::default() }
            .section(self.is_logged)
    }
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
        IndexMap::from([("train_loss".to_owned(), value)])
    }

    fn table(epochs: usize) -> Arc<EpochTable> {
        let mut table = EpochTable::default();
        (0..epochs).for_each(|_| table.push(values(0.5)));
        Arc::new(table)
    }

    #[test]
    fn a_save_has_what_had_been_logged_at_its_step_however_late_it_is_written() {
        let history = SharedHistory::default();
        history.log(1, line("a"));
        history.log(1, line("b"));
        let at = history.at(1, None);
        history.log(1, line("c"));
        history.close_epoch(values(f64::NAN));
        history.log(2, line("d"));
        let read_back = read(&at);
        assert_eq!(losses(&read_back.entries), [(1, "a")]);
        assert_eq!(read_back.epochs.len(), 0);

        let later = read(&history.at(1, None));
        assert_eq!(losses(&later.entries), [(1, "d")]);
        assert!(later.epochs.value("train_loss", 0).unwrap().is_nan());
    }

    #[test]
    fn a_save_has_the_validations_up_to_its_step_however_late_it_is_written() {
        let history = SharedHistory::default();
        let validate = |step: u64, text| {
            history.begin_validation(true);
            history.log_validation(line(text));
            history.end_validation(1, Some(IndexMap::from([(STEP.to_owned(), step as f64)])));
        };
        history.log(1, line("a"));
        validate(3, "three");
        let at = history.at(1, Some(3));
        validate(6, "six");
        let read_back = read(&at);
        assert_eq!((losses(&read_back.valid_entries), read_back.validations.len()), (vec![(1, "three")], 1));
        // A validation that is under way, or whose state is not yet that of a save, is in none.
        assert_eq!(read(&history.at(1, None)).validations.len(), 0);
        let resumed = SharedHistory::default();
        resumed.restore(read(&history.at(1, Some(6))), 1, 1);
        assert_eq!(losses(&resumed.validation_entries(1)), [(1, "six")]);
        assert_eq!(resumed.validation_rows(1, 1), [r#"{"step":6}"#]);
        assert!(resumed.validation_entries(2).is_empty());
    }

    #[test]
    fn a_resumed_history_continues_with_the_next_number() {
        let history = SharedHistory::default();
        history.log(3, line("a"));
        history.log(3, line("not in the state"));
        let stopped = read(&history.at(2, None));
        let resumed = SharedHistory::default();
        resumed.restore(stopped, 3, 1);
        resumed.log(3, line("b"));
        assert_eq!(resumed.updates(3), 2);
        assert_eq!(losses(&resumed.entries(3).0), [(1, "a"), (2, "b")]);
        assert!(resumed.entries(4).0.is_empty());
    }

    #[test]
    fn an_epoch_keeps_its_place_after_epochs_that_the_checkpoint_has_no_values_of() {
        let resumed = SharedHistory::default();
        resumed.restore(History { epochs: table(1), ..History::default() }, 4, 0);
        assert_eq!((resumed.epochs(), resumed.value("train_loss", 3)), (3, None));
        resumed.close_epoch(values(0.25));
        assert_eq!(resumed.epochs(), 4);
        let again = SharedHistory::default();
        again.restore(read(&resumed.at(0, None)), 5, 0);
        let seen: Vec<_> = (1..=5).map(|epoch| again.value("train_loss", epoch)).collect();
        assert_eq!(seen, [Some(0.5), None, None, Some(0.25), None]);
    }

    #[test]
    fn hostile_numbers_in_a_checkpoint_take_no_memory_and_overflow_nothing() {
        let resumed = SharedHistory::default();
        resumed.restore(History::default(), usize::MAX, u64::MAX);
        resumed.note_no_mean(usize::MAX, "Loss");
        resumed.log(usize::MAX, line("a"));
        assert_eq!(resumed.epochs(), usize::MAX - 1);
        // More epochs than are done are from another time.
        resumed.restore(History { epochs: table(3), ..History::default() }, 2, 0);
        assert_eq!((resumed.value("train_loss", 1), resumed.value("train_loss", 2)), (Some(0.5), None));
    }
}
