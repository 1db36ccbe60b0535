//! A data loader whose passes can begin anywhere: the order of an epoch is computed, not remembered.
//!
//! ```text
//! mod.rs       what a program sees: the builder, and burn's `DataLoader`
//! pass.rs      where a pass begins, which the training loop says, and the positions of its batches
//! guided.rs    the same for a loop that says nothing: burn's, or the user's
//! order.rs     which item is at a position of an epoch
//! workers.rs   the batches themselves, on the calling thread or ahead of it
//! ```

mod epoch_guide;
mod shuffle_order;
mod start_position;
mod workers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::data::dataset::Dataset;
use burn::tensor::Device;

use crate::config::TrainerConfig;
use start_position::{Pass, take_start};
use workers::{Source, Transform, Workers};

pub(crate) use epoch_guide::{GuidedLoader, Passes};
pub(crate) use start_position::{Start, iter_from, pass_of_epoch};

/// A data loader that can begin in the middle of an epoch without reading what comes before.
///
/// In which order an epoch gives the items depends on the seed, the epoch's number and the number of items, and
/// on nothing else: not on the number of workers, not on the epochs before, not on the machine. So a run that is
/// resumed goes on with the very items it would have had, and finding its place takes no time and no memory,
/// however long the dataset is.
///
/// Every call of `iter` begins the next epoch, the first one epoch 0. (A [`Trainer`](crate::Trainer) says which
/// one instead.)
///
/// # Errors and panics
///
/// An error of the dataset is given in the place of the batch that it prevents, and ends the iterator. A panic of
/// dataset, transform or batcher reaches whoever asks for that batch, also from a worker, and ends the iterator
/// too. The next pass has all the workers again.
///
/// # Examples
///
/// ```
/// use burn::data::dataloader::batcher::Batcher;
/// use burn::data::dataset::InMemDataset;
/// use burn::tensor::Device;
/// use burn_trainer::ResumableDataLoader;
///
/// struct Lists;
///
/// impl Batcher<u8, Vec<u8>> for Lists {
///     fn batch(&self, items: Vec<u8>, _device: &Device) -> Vec<u8> {
///         items
///     }
/// }
///
/// let dataset = || InMemDataset::new((0..10).collect());
/// let alone = ResumableDataLoader::builder(Lists).batch_size(4).shuffle(42).build(dataset());
/// let helped = ResumableDataLoader::builder(Lists).batch_size(4).shuffle(42).num_workers(2).build(dataset());
/// for _epoch in 0..3 {
///     let batches: Result<Vec<_>, _> = alone.iter().collect();
///     assert_eq!(batches?, helped.iter().collect::<Result<Vec<_>, _>>()?);
/// }
/// # Ok::<(), burn::data::dataset::DatasetError>(())
/// ```
pub struct ResumableDataLoader<I, O> {
    source: Arc<Source<I, O>>,
    batching: Batching,
    /// The epoch of the next pass that nobody gives one.
    epoch: AtomicU64,
    /// Started by the first pass and kept for all others: burn's devices give every thread memory of its own,
    /// and would not get it back from threads of a single pass (burn's issue 4792).
    workers: OnceLock<Workers<O>>,
}

/// Builds a [`ResumableDataLoader`]; see [`ResumableDataLoader::builder`].
pub struct ResumableDataLoaderBuilder<I, O> {
    batcher: Arc<dyn Batcher<I, O>>,
    seed: Option<u64>,
    /// The configuration's, for [`ResumableDataLoaderBuilder::shuffled`].
    run_seed: u64,
    transform: Option<Transform<I>>,
    batching: Batching,
}

#[derive(Debug, Clone, Copy)]
struct Batching {
    batch_size: usize,
    drop_last: bool,
    num_workers: usize,
    prefetch: usize,
}

impl<I: 'static, O: Send + 'static> ResumableDataLoader<I, O> {
    /// Begins a loader whose batches are made by a batcher.
    ///
    /// Unless told otherwise it gives single items in the dataset's order, made on the calling thread.
    #[must_use]
    pub fn builder<B: Batcher<I, O> + 'static>(batcher: B) -> ResumableDataLoaderBuilder<I, O> {
        ResumableDataLoaderBuilder {
            batcher: Arc::new(batcher),
            seed: None,
            run_seed: TrainerConfig::default().seed,
            transform: None,
            batching: Batching { batch_size: 1, drop_last: false, num_workers: 0, prefetch: 2 },
        }
    }

    /// A loader like this one, whose passes are counted on from this one's.
    fn with(&self, source: Source<I, O>) -> Arc<dyn DataLoader<O>> {
        let epoch = AtomicU64::new(self.epoch.load(Ordering::Relaxed));
        Arc::new(Self { source: Arc::new(source), batching: self.batching, epoch, workers: OnceLock::new() })
    }

    fn pass(&self, start: Start) -> Pass {
        Pass::new(start, self.source.range.len(), self.batching.batch_size, self.batching.drop_last)
    }
}

impl<I: 'static, O: Send + 'static> ResumableDataLoaderBuilder<I, O> {
    /// Items in a batch: 1 by default, and for 0. The last batch of an epoch has what is left.
    #[must_use]
    pub fn batch_size(mut self, items: usize) -> Self {
        self.batching.batch_size = items.max(1);
        self
    }

    /// Leave out a last batch that is smaller than the others: off by default, as in burn. The items left out
    /// count neither in the number of items nor in the progress; after a shuffle they are others in every epoch.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.batching.drop_last = drop_last;
        self
    }

    /// Shuffle every epoch, each one differently, by a seed: off by default.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Shuffle every epoch by the configuration's seed, for a loader that
    /// [`Trainer::loader`](crate::Trainer::loader) began; by the default configuration's for any other.
    #[must_use]
    pub fn shuffled(self) -> Self {
        let seed = self.run_seed;
        self.shuffle(seed)
    }

    /// Begins a loader of a run whose configuration has this seed.
    pub(crate) fn of_run(mut self, seed: u64) -> Self {
        self.run_seed = seed;
        self
    }

    /// Threads that make batches ahead of whoever takes them: 0 by default, which makes each batch when it is
    /// asked for, on the thread that asks. Their number has no influence on what is given.
    ///
    /// If the system grants fewer threads, the loader makes do with those, and logs a warning.
    #[must_use]
    pub fn num_workers(mut self, threads: usize) -> Self {
        self.batching.num_workers = threads;
        self
    }

    /// Batches that each worker has ready or in the making: 2 by default, and 1 for 0.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.batching.prefetch = batches.max(1);
        self
    }

    /// Change every item before it goes into a batch, by a seed: random augmentation that resuming repeats.
    ///
    /// The seed depends on [`shuffle`](Self::shuffle)'s (0 without), the epoch, and the item's index in the
    /// dataset, and on nothing else. A random number generator of the transform's own should begin with it.
    #[must_use]
    pub fn transform(mut self, transform: impl Fn(I, u64) -> I + Send + Sync + 'static) -> Self {
        self.transform = Some(Arc::new(transform));
        self
    }

    /// The loader of a dataset, whose length is asked for once, here. Its batches are on burn's default device,
    /// those of `to_device` on another.
    #[must_use]
    pub fn build<D: Dataset<I> + 'static>(self, dataset: D) -> Arc<dyn DataLoader<O>> {
        let source = Source {
            range: 0..dataset.len(),
            dataset: Arc::new(dataset),
            seed: self.seed,
            transform: self.transform,
            batcher: self.batcher,
            device: Device::default(),
        };
        Arc::new(ResumableDataLoader {
            source: Arc::new(source),
            batching: self.batching,
            epoch: AtomicU64::new(0),
            workers: OnceLock::new(),
        })
    }
}

impl<I: 'static, O: Send + 'static> DataLoader<O> for ResumableDataLoader<I, O> {
    /// The next pass, or the one that the training loop has said.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let start = take_start().unwrap_or_else(|| Start::of(self.epoch.fetch_add(1, Ordering::Relaxed)));
        let workers = self.workers.get_or_init(|| Workers::start(&self.source, self.batching.num_workers));
        Box::new(workers.batches(&self.source, self.pass(start), self.batching.prefetch))
    }

    /// The items that an epoch gives.
    fn num_items(&self) -> usize {
        self.pass(Start::of(0)).end
    }

    /// The same passes on another device, with workers of its own.
    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        self.with(Source { device: device.clone(), ..Source::clone(&self.source) })
    }

    /// A loader of the items `start..end` of this one's dataset, or as many of them as there are. Shuffling goes
    /// on among them, in an order of their own.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let whole = &self.source.range;
        let inside = |index: usize| whole.start.saturating_add(index).min(whole.end);
        let start = inside(start);
        self.with(Source { range: start..inside(end).max(start), ..Source::clone(&self.source) })
    }
}

#[cfg(test)]
mod tests;
