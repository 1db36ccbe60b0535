//! What the first lines of an epoch add up to. A checkpoint has the newest lines of its epoch alone, as an
//! epoch can have millions; of those before them it has this, which a mean needs.

use burn::train::metric::NumericEntry;
use burn_ckpt::plumbing::numbers::Number;
use serde::{Deserialize, Serialize};

/// The lines of a metric before those that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlierLines {
    /// How many.
    pub(super) lines: u64,
    /// The sum of their items' values, added in their order.
    sum: Number,
    /// The items in that sum.
    items: usize,
    /// Whether each of them counts as 1, as a batch does.
    counts_batches: bool,
}

impl Default for EarlierLines {
    fn default() -> Self {
        // The sum of nothing: 0.0 + -0.0 is not -0.0.
        Self { lines: 0, sum: Number(-0.0), items: 0, counts_batches: true }
    }
}

impl EarlierLines {
    /// Counts a line, which follows those before.
    pub(super) fn add(&mut self, line: &str) {
        self.lines = self.lines.saturating_add(1);
        let Ok(entry) = NumericEntry::deserialize(line) else { return };
        self.counts_batches &= matches!(entry, NumericEntry::Aggregated { count: 1, .. });
        let (value, count) = match entry {
            NumericEntry::Value(value) => (value, 1),
            NumericEntry::Aggregated { aggregated_value, count } => (aggregated_value, count),
            NumericEntry::Final(_) => return,
        };
        if count > 0 {
            self.sum.0 += value * count as f64;
            // The lines can come from a hostile checkpoint.
            self.items = self.items.saturating_add(count);
        }
    }

    /// The sum of the items' values, and their number, if there are items.
    pub(super) fn sum(&self) -> Option<(f64, usize)> {
        (self.items > 0).then_some((self.sum.0, self.items))
    }

    /// Whether each of them counts as 1, as a batch does.
    pub(super) fn counts_batches(&self) -> bool {
        self.counts_batches
    }
}
