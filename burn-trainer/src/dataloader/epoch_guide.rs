//! A loader whose passes begin at the right epoch in a loop that says none: burn's, or the user's.
//!
//! `Trainer::training` puts one around each loader that it is given. It is as good as not there until
//! `Trainer::fit_with` gives it the first epoch; the trainer's own loop says itself where a pass begins. burn gets at a
//! loader by `slice` and `to_device` only, so a guided loader makes guided ones, which all report to one [`Passes`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::start_position::{Start, iter_from, pass_of_epoch};

/// The passes over a loader and over the shares of it that several devices have.
#[derive(Debug, Default, Clone)]
pub(crate) struct Passes(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    /// The epoch of everybody's first pass, if somebody wants to be guided.
    first_epoch: Option<u64>,
    epochs: BTreeMap<u64, Given>,
}

/// What an epoch has given so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// Batches, of all devices.
    pub(crate) batches: u64,
    /// The most that a single device got: in a step, each one gets one.
    pub(crate) rounds: u64,
}

impl Passes {
    /// From now on passes are guided, and counted.
    pub(crate) fn guide_from(&self, first_epoch: u64) {
        *self.lock() = Log { first_epoch: Some(first_epoch), ..Log::default() };
    }

    /// What one epoch has given.
    pub(crate) fn of(&self, epoch: u64) -> Given {
        self.lock().epochs.get(&epoch).copied().unwrap_or_default()
    }

    /// The rounds of all epochs up to this one. (A device may be ahead of the others.)
    pub(crate) fn rounds_until(&self, epoch: u64) -> u64 {
        self.lock().epochs.range(..=epoch).map(|(_, given)| given.rounds).sum()
    }

    fn add(&self, epoch: u64, to_one_device: u64) {
        let mut log = self.lock();
        let given = log.epochs.entry(epoch).or_default();
        given.batches += 1;
        given.rounds = given.rounds.max(to_one_device);
    }

    fn first_epoch(&self) -> Option<u64> {
        self.lock().first_epoch
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loader, or a part of one, whose passes are guided.
pub(crate) struct GuidedLoader<O> {
    loader: Arc<dyn DataLoader<O>>,
    passes: Passes,
    /// Passes that were begun.
    begun: AtomicU64,
}

struct Counted<'a, O> {
    batches: Box<dyn DataLoaderIterator<O> + 'a>,
    passes: &'a Passes,
    epoch: u64,
    given: u64,
}

impl<O: 'static> GuidedLoader<O> {
    pub(crate) fn around(loader: Arc<dyn DataLoader<O>>, passes: &Passes) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self { loader, passes: passes.clone(), begun: AtomicU64::new(0) })
    }
}

impl<O: 'static> DataLoader<O> for GuidedLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let Some(first_epoch) = self.passes.first_epoch() else { return self.loader.iter() };
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let epoch = first_epoch + begun;
        let (mut batches, took_start) = iter_from(&*self.loader, Start::of(epoch));
        if !took_start && begun == 0 {
            batches = pass_of_epoch(&*self.loader, batches, epoch);
        }
        Box::new(Counted { batches, passes: &self.passes, epoch, given: 0 })
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Self::around(self.loader.to_device(device), &self.passes)
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Self::around(self.loader.slice(start, end), &self.passes)
    }
}

impl<O> Iterator for Counted<'_, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        if batch.is_ok() {
            self.given += 1;
            self.passes.add(self.epoch, self.given);
        }
        Some(batch)
    }
}

impl<O> DataLoaderIterator<O> for Counted<'_, O> {
    fn progress(&self) -> Progress {
        self.batches.progress()
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
    fn a_pass_is_that_of_its_epoch_also_for_loaders_that_know_no_epochs() {
        for loader in [shuffled, burns] {
            let whole = loader();
            let epochs: Vec<_> = (0..4).map(|_| batches(whole.iter())).collect();
            let passes = Passes::default();
            let guided = GuidedLoader::around(loader(), &passes);
            passes.guide_from(2);
            assert_eq!([batches(guided.iter()), batches(guided.iter())], epochs[2..]);
        }
    }

    #[test]
    fn without_guidance_it_is_as_good_as_not_there() {
        let (bare, passes) = (shuffled(), Passes::default());
        let guided = GuidedLoader::around(shuffled(), &passes);
        assert_eq!(batches(bare.iter()), batches(guided.iter()));
        assert_eq!(passes.of(0), Given::default());
        let start = Start { epoch: 3, items: 8, shard: 0, shards: 1 };
        let (expected, (iterator, taken)) = (iter_from(&*bare, start).0, iter_from(&*guided, start));
        assert_eq!(batches(expected), batches(iterator));
        assert!(taken);
    }

    #[test]
    fn the_shares_of_several_devices_are_guided_and_counted_together() {
        let devices = [Device::flex(), Device::flex()];
        let whole = split_dataloader(shuffled(), &devices);
        let passes = Passes::default();
        let shares = split_dataloader(GuidedLoader::around(shuffled(), &passes), &devices);
        passes.guide_from(1);
        for (whole, share) in whole.iter().zip(&shares) {
            let (_, second) = (batches(whole.iter()), batches(whole.iter()));
            assert_eq!(second, batches(share.iter()));
        }
        // 9 items for each device, in batches of 4.
        assert_eq!(passes.of(1), Given { batches: 6, rounds: 3 });
        assert_eq!((passes.rounds_until(0), passes.rounds_until(1)), (0, 3));
    }
}
