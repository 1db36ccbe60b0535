//! The metrics' numbers of the epochs that this process has logged, for burn's event store, which early stopping asks.
//! What burn would compute from all of an epoch's lines is computed as they come, in its order and with its arithmetic.

use std::collections::{BTreeMap, HashMap};

use burn::train::metric::store::Split;
use burn::train::metric::{MetricId, NumericEntry};

/// What an epoch has come to so far, for each metric and split.
#[derive(Default)]
pub(super) struct Memory {
    epochs: BTreeMap<usize, HashMap<(MetricId, Split), Numbers>>,
}

#[derive(Default)]
struct Numbers {
    /// The sum, and of how many items.
    sum: Option<(f64, usize)>,
    /// The value that the metric gives at the end.
    end: Option<f64>,
}

impl Numbers {
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
        // The first one alone, since 0.0 + -0.0 is not -0.0.
        self.sum =
            Some(self.sum.map_or((value, count), |(sum, all)| (sum + value, all.saturating_add(count))));
    }

    fn value(&self) -> Option<f64> {
        self.end.or_else(|| self.sum.map(|(sum, count)| sum / count as f64))
    }
}

impl Memory {
    /// Takes in a line, if it is a number.
    pub(super) fn add(&mut self, id: &MetricId, line: &str, epoch: usize, split: &Split) {
        if let Ok(entry) = NumericEntry::deserialize(line) {
            let epoch = self.epochs.entry(epoch).or_default();
            epoch.entry((id.clone(), split.clone())).or_default().add(&entry);
        }
    }

    /// The value that burn makes of the lines.
    pub(super) fn value(&self, id: &MetricId, epoch: usize, split: &Split) -> Option<f64> {
        self.epochs.get(&epoch)?.get(&(id.clone(), split.clone()))?.value()
    }

    /// Forgets the epochs up to this one, which are in the history.
    pub(super) fn forget_until(&mut self, epoch: usize) {
        self.epochs.retain(|known, _| *known > epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_epochs_value_is_the_mean_until_the_metric_gives_its_own() {
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        let mut memory = Memory::default();
        for line in ["0.1,3", "a,b,c", "N/A", "0.7", "0.2,4"] {
            memory.add(&id, line, 2, &Split::Valid);
        }
        let mean = (0.1 * 3.0 + 0.7 + 0.2 * 4.0) / 8.0;
        assert_eq!(memory.value(&id, 2, &Split::Valid), Some(mean));
        memory.add(&id, "0.25,final", 2, &Split::Valid);
        assert_eq!(memory.value(&id, 2, &Split::Valid), Some(0.25));
        for (epoch, split) in [(1, Split::Valid), (3, Split::Valid), (2, Split::Train)] {
            assert_eq!(memory.value(&id, epoch, &split), None);
        }
        memory.forget_until(2);
        assert_eq!(memory.value(&id, 2, &Split::Valid), None);
    }

    #[test]
    fn counts_that_overflow_are_no_panic() {
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        let mut memory = Memory::default();
        for _ in 0..2 {
            memory.add(&id, "0.5,18446744073709551615", 1, &Split::Train);
        }
        assert!(memory.value(&id, 1, &Split::Train).is_some());
    }
}
