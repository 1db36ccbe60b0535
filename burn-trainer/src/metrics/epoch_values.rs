//! The values of the epochs that this process has logged. `logger` answers burn's event store from them, and
//! early stopping reads that store.
//!
//! burn would compute a value from all lines of an epoch. Here it is computed line by line, in burn's order
//! and with burn's arithmetic, so that the result is the same to the bit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use burn::train::metric::store::Split;
use burn::train::metric::{MetricId, NumericEntry};
use parking_lot::{Mutex, MutexGuard};

use super::earlier_lines::EarlierLines;

/// The values that burn's thread fills in and the loop reads at the end of an epoch.
#[derive(Debug, Default, Clone)]
pub(crate) struct SharedValues(Arc<Mutex<LoggedValues>>);

impl SharedValues {
    pub(super) fn lock(&self) -> MutexGuard<'_, LoggedValues> {
        self.0.lock()
    }
}

/// The value of each metric and split so far, by epoch.
#[derive(Debug, Default)]
pub(super) struct LoggedValues {
    epochs: BTreeMap<usize, HashMap<(MetricId, Split), RunningMean>>,
}

#[derive(Debug, Default)]
struct RunningMean {
    /// The sum, and the number of items in it.
    sum: Option<(f64, usize)>,
    /// The metric's own value for the epoch. It counts in place of the mean.
    end: Option<f64>,
}

impl RunningMean {
    fn add(&mut self, entry: &NumericEntry) {
        let (value, count) = match entry {
            NumericEntry::Value(value) => (*value, 1),
            NumericEntry::Aggregated { aggregated_value, count } => {
                (*aggregated_value * *count as f64, *count)
            }
            NumericEntry::Final(value) => {
                self.end = Some(*value);
                return;
            }
        };
        // The first value is not added to 0.0, since 0.0 + -0.0 is not -0.0.
        self.sum =
            Some(self.sum.map_or((value, count), |(sum, all)| (sum + value, all.saturating_add(count))));
    }

    fn value(&self) -> Option<f64> {
        self.end.or_else(|| self.sum.map(|(sum, count)| sum / count as f64))
    }
}

impl LoggedValues {
    /// Counts a line, if it is a number.
    pub(super) fn add(&mut self, id: &MetricId, line: &str, epoch: usize, split: &Split) {
        if let Ok(entry) = NumericEntry::deserialize(line) {
            let epoch = self.epochs.entry(epoch).or_default();
            epoch.entry((id.clone(), split.clone())).or_default().add(&entry);
        }
    }

    /// Counts the lines before the first one of an epoch's split.
    pub(super) fn begin_after(&mut self, id: &MetricId, before: &EarlierLines, epoch: usize, split: &Split) {
        if let Some(sum) = before.sum() {
            let mean = RunningMean { sum: Some(sum), end: None };
            self.epochs.entry(epoch).or_default().insert((id.clone(), split.clone()), mean);
        }
    }

    /// The value that burn computes from the lines.
    pub(super) fn value(&self, id: &MetricId, epoch: usize, split: &Split) -> Option<f64> {
        self.epochs.get(&epoch)?.get(&(id.clone(), split.clone()))?.value()
    }

    /// Forgets a split of an epoch: it is logged again.
    pub(super) fn forget(&mut self, epoch: usize, split: &Split) {
        if let Some(values) = self.epochs.get_mut(&epoch) {
            values.retain(|(_, of), _| of != split);
        }
    }

    /// Forgets the epochs up to this one: the history has them.
    pub(super) fn forget_until(&mut self, epoch: usize) {
        self.epochs.retain(|known, _| *known > epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_epochs_value_is_the_mean_until_the_metric_logs_its_own() {
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        let mut logged = LoggedValues::default();
        for line in ["0.1,3", "a,b,c", "N/A", "0.7", "0.2,4"] {
            logged.add(&id, line, 2, &Split::Valid);
        }
        let mean = (0.1 * 3.0 + 0.7 + 0.2 * 4.0) / 8.0;
        assert_eq!(logged.value(&id, 2, &Split::Valid), Some(mean));
        logged.add(&id, "0.25,final", 2, &Split::Valid);
        assert_eq!(logged.value(&id, 2, &Split::Valid), Some(0.25));
        for (epoch, split) in [(1, Split::Valid), (3, Split::Valid), (2, Split::Train)] {
            assert_eq!(logged.value(&id, epoch, &split), None);
        }
        logged.forget_until(2);
        assert_eq!(logged.value(&id, 2, &Split::Valid), None);
    }

    #[test]
    fn counts_that_overflow_do_not_panic() {
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        let mut logged = LoggedValues::default();
        for _ in 0..2 {
            logged.add(&id, "0.5,18446744073709551615", 1, &Split::Train);
        }
        assert!(logged.value(&id, 1, &Split::Train).is_some());
    }
}
