//! A loader whose passes begin at the right epoch in loops that set none: burn's, and the user's.
//!
//! `Trainer::training` wraps each loader in one. It changes nothing until `Trainer::fit_with` sets the first
//! epoch: the trainer's own loop sets the start of each pass itself. burn derives loaders by `slice` and
//! `to_device` only, so a tracking loader derives tracking loaders, which all report to one [`EpochTracker`].
//!
//! burn's loops do the optimizer step of an epoch's last, incomplete accumulation when a loader says that it
//! is at its end. A loader that is not ours may be wrong about that. So of such a loader each batch is read
//! before the one before it is given, and the end is where the iterator ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use parking_lot::Mutex;

use super::loader_size::LoaderSize;
use super::start_position::{StartPosition, iter_from, pass_of_epoch};
use crate::process::console::MAX_ITEMS;
use crate::process::join_with_limit::DropWithLimit;

/// Counts the batches of each epoch, over a loader and the shares of it that several devices have.
#[derive(Debug, Default, Clone)]
pub(crate) struct EpochTracker(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// The epoch of every loader's first pass. `None`: nothing is tracked.
    first_epoch: Option<u64>,
    epochs: BTreeMap<u64, BatchCounts>,
}

/// The batches that an epoch has given so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchCounts {
    /// Of all devices together.
    pub(crate) batches: u64,
    /// Of the device with the most. In a training step each device gets one batch.
    pub(crate) rounds: u64,
}

impl EpochTracker {
    /// Starts tracking: the next pass is that of `first_epoch`.
    pub(crate) fn start_at(&self, first_epoch: u64) {
        *self.lock() = Counts { first_epoch: Some(first_epoch), ..Counts::default() };
    }

    /// The batches of one epoch.
    pub(crate) fn of_epoch(&self, epoch: u64) -> BatchCounts {
        self.lock().epochs.get(&epoch).copied().unwrap_or_default()
    }

    /// The rounds of all epochs up to this one. A device may be ahead of the others.
    pub(crate) fn rounds_until(&self, epoch: u64) -> u64 {
        self.lock().epochs.range(..=epoch).map(|(_, counts)| counts.rounds).sum()
    }

    /// Whether a pass of the epoch was begun, and has given nothing.
    pub(crate) fn is_empty(&self, epoch: u64) -> bool {
        self.lock().epochs.get(&epoch).is_some_and(|counts| counts.batches == 0)
    }

    fn begin(&self, epoch: u64) {
        self.lock().epochs.entry(epoch).or_default();
    }

    fn add(&self, epoch: u64, to_one_device: u64) {
        let mut counts = self.lock();
        let counts = counts.epochs.entry(epoch).or_default();
        counts.batches += 1;
        counts.rounds = counts.rounds.max(to_one_device);
    }

    fn first_epoch(&self) -> Option<u64> {
        self.lock().first_epoch
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Counts> {
        self.0.lock()
    }
}

/// A loader, or a part of one, whose passes begin at the tracker's epochs and are counted.
pub(crate) struct EpochTrackingLoader<O: 'static> {
    loader: DropWithLimit<dyn DataLoader<O>>,
    tracker: EpochTracker,
    /// Passes that were begun.
    begun: AtomicU64,
}

struct CountingIterator<'a, O> {
    batches: Box<dyn DataLoaderIterator<O> + 'a>,
    tracker: &'a EpochTracker,
    epoch: u64,
    given: u64,
    /// Whether the loader knows where it ends.
    is_exact: bool,
    /// The batch after the one that was given, if it was read, with the loader's progress after it.
    ahead: Option<(Option<Result<O, DatasetError>>, Progress)>,
    /// The progress after the batch that was given.
    progress: Option<Progress>,
}

impl<O: 'static> EpochTrackingLoader<O> {
    pub(crate) fn wrap(loader: Arc<dyn DataLoader<O>>, tracker: &EpochTracker) -> Arc<dyn DataLoader<O>> {
        let loader = DropWithLimit::new(loader);
        Arc::new(Self { loader, tracker: tracker.clone(), begun: AtomicU64::new(0) })
    }
}

impl<O: 'static> DataLoader<O> for EpochTrackingLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let Some(first_epoch) = self.tracker.first_epoch() else { return self.loader.iter() };
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let epoch = first_epoch + begun;
        let (mut batches, took_start) = iter_from(&*self.loader, StartPosition::of_epoch(epoch));
        if !took_start && begun == 0 {
            batches = pass_of_epoch(&*self.loader, batches, epoch);
        }
        self.tracker.begin(epoch);
        let is_exact = LoaderSize::of(&*self.loader).is_some();
        let tracker = &self.tracker;
        Box::new(CountingIterator {
            batches,
            tracker,
            epoch,
            given: 0,
            is_exact,
            ahead: None,
            progress: None,
        })
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Self::wrap(self.loader.to_device(device), &self.tracker)
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Self::wrap(self.loader.slice(start, end), &self.tracker)
    }
}

impl<O> Iterator for CountingIterator<'_, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (batch, progress) = self.ahead.take().unwrap_or_else(|| self.read());
        let batch = batch?;
        if batch.is_ok() {
            self.given += 1;
            self.tracker.add(self.epoch, self.given);
        }
        if self.is_exact || batch.is_err() {
            self.progress = Some(progress);
            return Some(batch);
        }
        let ahead = self.read();
        let done = progress.items_processed.min(MAX_ITEMS);
        let total = match &ahead {
            (None, _) => done,
            (Some(_), _) if (done + 1..=MAX_ITEMS).contains(&progress.items_total) => progress.items_total,
            (Some(_), _) => done + 1,
        };
        self.progress = Some(Progress::new(done, total, progress.unit));
        self.ahead = Some(ahead);
        Some(batch)
    }
}

impl<O> CountingIterator<'_, O> {
    fn read(&mut self) -> (Option<Result<O, DatasetError>>, Progress) {
        let batch = self.batches.next();
        (batch, self.batches.progress())
    }
}

impl<O> DataLoaderIterator<O> for CountingIterator<'_, O> {
    fn progress(&self) -> Progress {
        self.progress.clone().unwrap_or_else(|| self.batches.progress())
    }
}

#[cfg(test)]
mod tests {
    use burn::data::dataloader::DataLoaderBuilder;
    use burn::data::dataloader::split::split_dataloader;

    use super::super::ResumableDataLoader;
    use super::super::tests::{Lists, Numbers, batches};
    use super::*;

    fn shuffled() -> Arc<dyn DataLoader<Vec<usize>>> {
        ResumableDataLoader::builder(Lists).batch_size(4).shuffle(7).build(Numbers::new(18))
    }

    fn burns() -> Arc<dyn DataLoader<Vec<usize>>> {
        DataLoaderBuilder::new(Lists).batch_size(4).shuffle(7).build(Numbers::new(18))
    }

    #[test]
    fn a_pass_is_that_of_its_epoch_for_any_loader() {
        for loader in [shuffled, burns] {
            let whole = loader();
            let epochs: Vec<_> = (0..4).map(|_| batches(whole.iter())).collect();
            let tracker = EpochTracker::default();
            let tracked = EpochTrackingLoader::wrap(loader(), &tracker);
            tracker.start_at(2);
            assert_eq!([batches(tracked.iter()), batches(tracked.iter())], epochs[2..]);
        }
    }

    #[test]
    fn without_a_first_epoch_it_changes_nothing() {
        let (bare, tracker) = (shuffled(), EpochTracker::default());
        let tracked = EpochTrackingLoader::wrap(shuffled(), &tracker);
        assert_eq!(batches(bare.iter()), batches(tracked.iter()));
        assert_eq!(tracker.of_epoch(0), BatchCounts::default());
        let start = StartPosition { epoch: 3, items: 8, began_with: None, shard: 0, shards: 1 };
        let (expected, (iterator, taken)) = (iter_from(&*bare, start).0, iter_from(&*tracked, start));
        assert_eq!(batches(expected), batches(iterator));
        assert!(taken);
    }

    #[test]
    fn the_shares_of_several_devices_are_counted_together() {
        let devices = [Device::flex(), Device::flex()];
        let whole = split_dataloader(shuffled(), &devices);
        let tracker = EpochTracker::default();
        let shares = split_dataloader(EpochTrackingLoader::wrap(shuffled(), &tracker), &devices);
        tracker.start_at(1);
        for (whole, share) in whole.iter().zip(&shares) {
            let (_, second) = (batches(whole.iter()), batches(whole.iter()));
            assert_eq!(second, batches(share.iter()));
        }
        // 9 items for each device, in batches of 4.
        assert_eq!(tracker.of_epoch(1), BatchCounts { batches: 6, rounds: 3 });
        assert_eq!((tracker.rounds_until(0), tracker.rounds_until(1)), (0, 3));
    }
}
