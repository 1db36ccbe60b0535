//! Which optimizer step a training batch belongs to. burn's thread, which logs the batch, does not know.

use std::collections::VecDeque;

/// Gives the step of a batch, by its epoch, counted from 0, and its number in it, counted from 1.
pub(crate) type StepOfBatch = Box<dyn Fn(u64, u64) -> u64 + Send>;

/// The steps of the batches that are on their way to burn's thread.
#[derive(Default)]
pub(super) struct BatchSteps {
    noted: VecDeque<((u64, u64), u64)>,
    count_by: Option<StepOfBatch>,
}

impl BatchSteps {
    pub(super) fn count_by(&mut self, step_of_batch: StepOfBatch) {
        self.count_by = Some(step_of_batch);
    }

    pub(super) fn note(&mut self, epoch: u64, batch: u64, step: u64) {
        self.noted.push_back(((epoch, batch), step));
    }

    /// The step of a batch. Those of the batches before it are forgotten.
    pub(super) fn take(&mut self, epoch: u64, batch: u64) -> Option<u64> {
        if let Some(count_by) = &self.count_by {
            return Some(count_by(epoch, batch));
        }
        while let Some((noted, step)) = self.noted.front().copied() {
            if noted > (epoch, batch) {
                return None;
            }
            self.noted.pop_front();
            if noted == (epoch, batch) {
                return Some(step);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gets_its_own_step_also_where_others_were_never_logged() {
        let mut steps = BatchSteps::default();
        for (epoch, batch, step) in [(0, 1, 1), (0, 2, 1), (0, 3, 2), (1, 1, 3)] {
            steps.note(epoch, batch, step);
        }
        assert_eq!(
            [(0, 1), (0, 3), (0, 3), (1, 1), (1, 2)].map(|(epoch, batch)| steps.take(epoch, batch)),
            [Some(1), Some(2), None, Some(3), None]
        );
    }
}
