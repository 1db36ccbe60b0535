//! Where a pass over the data begins, how a loop passes that to a loader, and which positions the batches
//! cover.
//!
//! burn's `DataLoader::iter` has no arguments, and a `dyn DataLoader` has no other method to call. So the
//! start position waits in a thread-local cell until the loader takes it.

use std::cell::Cell;
use std::ops::Range;

use burn::data::dataloader::{DataLoader, DataLoaderIterator};

/// Where in the data a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartPosition {
    pub(crate) epoch: u64,
    /// Items of the epoch that are done.
    pub(crate) items: u64,
    /// Items of the data set when the epoch began, where it has more of them now: the epoch is finished with
    /// those.
    pub(crate) began_with: Option<u64>,
    /// The iterator gives every `shards`-th batch, beginning with the `shard`-th: for several devices.
    pub(crate) shard: u64,
    pub(crate) shards: u64,
}

impl StartPosition {
    /// All of an epoch.
    pub(crate) fn of_epoch(epoch: u64) -> Self {
        Self { epoch, items: 0, began_with: None, shard: 0, shards: 1 }
    }
}

thread_local! {
    static START: Cell<Option<StartPosition>> = const { Cell::new(None) };
}

/// Calls `loader.iter()` with a start position. Returns whether the loader used it.
///
/// A [`ResumableDataLoader`](super::ResumableDataLoader) does, also inside a wrapper that calls it on this
/// thread. Other loaders begin at the first item of the epoch.
pub(crate) fn iter_from<'a, O>(
    loader: &'a dyn DataLoader<O>,
    start: StartPosition,
) -> (Box<dyn DataLoaderIterator<O> + 'a>, bool) {
    /// A position that the loader did not take, or that a panic left behind, must not reach another loader.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            START.set(None);
        }
    }
    let _clear = Clear;
    START.set(Some(start));
    let iterator = loader.iter();
    (iterator, START.take().is_none())
}

/// The pass of an epoch over a loader that does not take start positions. `first` is its first pass, already
/// begun. burn's loader shuffles with a generator that it advances in every pass, so the passes before this
/// one are begun too.
pub(crate) fn pass_of_epoch<'a, O>(
    loader: &'a dyn DataLoader<O>,
    first: Box<dyn DataLoaderIterator<O> + 'a>,
    epoch: u64,
) -> Box<dyn DataLoaderIterator<O> + 'a> {
    (0..epoch).fold(first, |_, _| loader.iter())
}

/// Takes the start position that this thread's loop has set, if it has set one.
pub(super) fn take_start() -> Option<StartPosition> {
    START.take()
}

/// The batches of one iterator: every `stride`-th batch of the positions `begin..end`, beginning with the
/// batch `first`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) epoch: u64,
    /// Items of the data set, among which the epoch's order is made.
    pub(super) len: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
    batch_size: usize,
    first: usize,
    stride: usize,
}

impl Pass {
    /// The pass of an epoch that begins at `start`, over a data set of `len` items.
    pub(super) fn new(start: StartPosition, len: usize, batch_size: usize, drop_last: bool) -> Self {
        let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let len = start.began_with.map_or(len, |began_with| narrow(began_with).min(len));
        let begin = narrow(start.items).min(len);
        let short = if drop_last { (len - begin) % batch_size } else { 0 };
        Self {
            epoch: start.epoch,
            len,
            begin,
            end: len - short,
            batch_size,
            first: narrow(start.shard),
            stride: narrow(start.shards).max(1),
        }
    }

    /// The positions in the iterator's batch `number`. `None` after the last batch.
    pub(super) fn positions(&self, number: usize) -> Option<Range<usize>> {
        let batch = number.checked_mul(self.stride)?.checked_add(self.first)?;
        let from = batch.checked_mul(self.batch_size)?.checked_add(self.begin)?;
        (from < self.end).then(|| from..self.end.min(from.saturating_add(self.batch_size)))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use burn::data::dataloader::DataLoaderBuilder;
    use burn::tensor::Device;

    use super::super::ResumableDataLoader;
    use super::super::tests::{Lists, Numbers, batches};
    use super::*;

    const START: StartPosition = StartPosition { epoch: 3, items: 4, began_with: None, shard: 0, shards: 1 };

    fn all(start: StartPosition, len: usize, batch_size: usize, drop_last: bool) -> Vec<Range<usize>> {
        let pass = Pass::new(start, len, batch_size, drop_last);
        (0..).map_while(|number| pass.positions(number)).collect()
    }

    /// A user's loader around another.
    struct Wrapper(Arc<dyn DataLoader<Vec<usize>>>, &'static str);

    impl DataLoader<Vec<usize>> for Wrapper {
        fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<usize>> + 'a> {
            assert!(self.1.is_empty(), "{}", self.1);
            self.0.iter()
        }

        fn num_items(&self) -> usize {
            self.0.num_items()
        }

        fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Vec<usize>>> {
            self.0.to_device(device)
        }

        fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Vec<usize>>> {
            self.0.slice(start, end)
        }
    }

    #[test]
    fn batches_cover_what_is_left_of_the_epoch() {
        assert_eq!(all(StartPosition::of_epoch(0), 10, 4, false), [0..4, 4..8, 8..10]);
        assert_eq!(all(StartPosition::of_epoch(0), 10, 4, true), [0..4, 4..8]);
        assert_eq!(all(START, 10, 4, false), [4..8, 8..10]);
        assert_eq!(all(START, 11, 3, true), [4..7, 7..10], "the batch size has changed");
        for done in [10, 11, u64::MAX] {
            assert!(all(StartPosition { items: done, ..START }, 10, 4, false).is_empty());
        }
        assert!(all(StartPosition::of_epoch(0), 0, 4, false).is_empty());
        assert!(all(StartPosition::of_epoch(0), 3, 4, true).is_empty());
    }

    #[test]
    fn shards_take_turns() {
        let shard = |shard| all(StartPosition { shard, shards: 2, ..START }, 17, 3, false);
        assert_eq!(shard(0), [4..7, 10..13, 16..17]);
        assert_eq!(shard(1), [7..10, 13..16]);
        assert_eq!(all(StartPosition { shards: 0, ..START }, 8, 3, false), [4..7, 7..8]);
    }

    #[test]
    fn an_epoch_is_finished_with_the_items_that_it_began_with() {
        let grown = StartPosition { began_with: Some(10), ..START };
        assert_eq!(all(grown, 15, 4, false), [4..8, 8..10]);
        assert_eq!(all(grown, 9, 4, false), [4..8, 8..9], "there are fewer now");
        let loader =
            |len| ResumableDataLoader::builder(Lists).batch_size(2).shuffle(7).build(Numbers::new(len));
        let (small, large) = (loader(10), loader(15));
        let [expected, found] =
            [iter_from(&*small, START), iter_from(&*large, grown)].map(|(it, _)| batches(it));
        assert_eq!(expected, found);
        assert_eq!(found.concat().len(), 6);
    }

    #[test]
    fn no_number_is_too_large() {
        let (most, whole) = (usize::MAX, StartPosition::of_epoch(u64::MAX));
        let last = most - 1..most;
        assert!(all(StartPosition { items: u64::MAX - 1, ..whole }, most, 5, false).into_iter().eq([last]));
        let only = 0..most;
        assert!(all(whole, most, most, false).into_iter().eq([only]));
        let pass = Pass::new(StartPosition { shard: u64::MAX, shards: u64::MAX, ..whole }, most, 2, false);
        assert_eq!((pass.positions(0), pass.positions(1), pass.positions(most)), (None, None, None));
    }

    #[test]
    fn a_resumable_loader_takes_the_start() {
        let loader = ResumableDataLoader::builder(Lists).batch_size(4).build(Numbers::new(10));
        let (iterator, taken) = iter_from(&*loader, START);
        assert_eq!(batches(iterator), [vec![4, 5, 6, 7], vec![8, 9]]);
        assert!(taken);
        assert_eq!(batches(loader.iter())[0], [0, 1, 2, 3], "it is for one pass");

        let wrapper = Wrapper(loader, "");
        let (iterator, taken) = iter_from(&wrapper, START);
        assert_eq!(batches(iterator).len(), 2);
        assert!(taken);
    }

    #[test]
    fn another_loader_does_not_and_the_position_is_cleared() {
        let burns = DataLoaderBuilder::new(Lists).batch_size(4).build(Numbers::new(10));
        let (iterator, taken) = iter_from(&*burns, START);
        assert_eq!(batches(iterator).len(), 3);
        assert!(!taken);
        assert_eq!(take_start(), None);

        let fails = Wrapper(burns, "no data today");
        assert!(catch_unwind(AssertUnwindSafe(|| iter_from(&fails, START).1)).is_err());
        assert_eq!(take_start(), None);
    }
}
