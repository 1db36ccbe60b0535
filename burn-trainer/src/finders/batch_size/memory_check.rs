//! Whether a size is above the memory limit: by prediction before its steps, and by what they used.

use super::memory::{Gauge, MemoryCurve};
use super::result::{BatchFit, TriedBatchSize};

/// The limit of a search, and what its sizes have used so far.
pub(super) struct MemoryCheck<'a> {
    gauge: &'a Gauge,
    limit: Option<u64>,
    curve: MemoryCurve,
    /// Whether the allocator keeps memory above the limit, so that smaller sizes would seem to use it.
    is_kept: bool,
}

impl<'a> MemoryCheck<'a> {
    pub(super) fn new(gauge: &'a Gauge, limit: Option<u64>) -> Self {
        Self { gauge, limit, curve: MemoryCurve::default(), is_kept: false }
    }

    /// What a size would use, as far as smaller ones show it.
    pub(super) fn expected(&self, size: usize) -> Option<u64> {
        self.curve.predict(size)
    }

    pub(super) fn is_above(&self, memory: Option<u64>) -> bool {
        memory.zip(self.limit).is_some_and(|(memory, limit)| memory > limit)
    }

    /// What a size came to whose steps are done: `expected` is what they were to use.
    pub(super) fn checked(&mut self, mut outcome: TriedBatchSize, expected: Option<u64>) -> TriedBatchSize {
        let size = outcome.batch_size;
        // The peak of the first size is that of the steps before its measurement.
        let used = outcome.memory.or_else(|| self.gauge.used());
        if self.is_kept && expected.is_none() {
            return TriedBatchSize::without_steps(size, BatchFit::AboveLimit, used);
        }
        if self.is_kept {
            outcome.memory = expected;
        } else if outcome.fit == BatchFit::Fits {
            outcome.memory.into_iter().for_each(|memory| self.curve.add(size, memory));
            if self.is_above(used) {
                self.is_kept = matches!(self.gauge, Gauge::Process);
                return TriedBatchSize::without_steps(size, BatchFit::AboveLimit, used);
            }
        }
        outcome
    }
}
