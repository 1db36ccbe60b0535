//! Where in the log the lines of each position of the run end: a save may be of a position before the last
//! line.

use burn_ckpt::metrics_log::LogMark;

/// Where a run is, as far as its log is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// The epoch in progress, counted from 0.
    pub(crate) epoch: u64,
    /// Training batches of that epoch that are done.
    pub(crate) batches: u64,
    /// A number that grows with each validation of the run.
    pub(crate) validations: u64,
    /// Optimizer steps done.
    pub(crate) step: u64,
}

/// The moment of a line: epoch, batches of the epoch, validations of the run. Lines are logged in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64, u64, u64);

impl Moment {
    pub(super) fn of_batch(epoch: u64, batch: u64) -> Self {
        Self(epoch, batch, 0)
    }

    /// Of the validation that comes next at a position.
    pub(super) fn of_validation(position: LogPosition) -> Self {
        Self(position.epoch, position.batches, position.validations.saturating_add(1))
    }

    /// Of the end of an epoch.
    pub(super) fn of_epoch(epoch: u64) -> Self {
        Self(epoch.saturating_add(1), 0, 0)
    }

    /// Of a position, after its lines.
    pub(super) fn of(position: LogPosition) -> Self {
        Self(position.epoch, position.batches, position.validations)
    }
}

/// The ends of the lines of the epoch in progress and of the one before.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Each with the length of the log after it, and its digest.
    ends: Vec<(Moment, u64, u64)>,
}

impl Marks {
    /// Notes a line.
    pub(super) fn push(&mut self, moment: Moment, end: u64, digest: u64) {
        self.ends.push((moment, end, digest));
    }

    /// The marks from before this epoch are no longer needed: its first state is saved, or will be, with
    /// marks of its own.
    pub(super) fn forget_before(&mut self, epoch: u64) {
        let first = self.ends.partition_point(|(moment, ..)| *moment < Moment(epoch, 0, 0));
        // The last one of those is the end of what they had.
        self.ends.drain(..first.saturating_sub(1));
    }

    /// Lines are lost: what is in the file ends elsewhere.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }

    /// The end of the lines of a position.
    pub(super) fn at(&self, position: LogPosition) -> Option<LogMark> {
        let moment = Moment::of(position);
        let until = self.ends.partition_point(|(end, ..)| *end <= moment);
        let (_, end, digest) = self.ends.get(until.checked_sub(1)?)?;
        Some(LogMark::new(*end, *digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, batches: u64, validations: u64) -> LogPosition {
        LogPosition { epoch, batches, validations, step: 0 }
    }

    #[test]
    fn a_position_has_the_lines_up_to_it() {
        let mut marks = Marks::default();
        let bytes = |marks: &Marks, position| marks.at(position).map(|mark| mark.bytes);
        assert_eq!(bytes(&marks, at(0, 0, 0)), None);
        let moments = [
            Moment::of(at(0, 0, 0)),
            Moment::of_batch(0, 1),
            Moment::of_batch(0, 2),
            Moment::of_validation(at(0, 2, 0)),
            Moment::of_batch(0, 3),
            Moment::of_validation(at(0, 3, 1)),
            Moment::of_epoch(0),
        ];
        moments.into_iter().zip(1..).for_each(|(moment, line)| marks.push(moment, 10 * line, 0));
        for (position, expected) in [
            (at(0, 0, 0), 10),
            (at(0, 1, 0), 20),
            (at(0, 2, 0), 30),
            (at(0, 2, 1), 40),
            (at(0, 3, 1), 50),
            (at(0, 3, 2), 60),
            (at(1, 0, 2), 70),
            (at(1, 9, 2), 70),
        ] {
            assert_eq!(bytes(&marks, position), Some(expected), "{position:?}");
        }
        marks.forget_before(1);
        assert_eq!((bytes(&marks, at(1, 0, 2)), marks.ends.len()), (Some(70), 2));
    }
}
