//! What a program sees of the loader: [`ResumableDataLoader`] and its builder. burn reads it as a
//! `DataLoader`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::data::dataset::Dataset;
use burn::tensor::Device;

use super::loader_size::LoaderSize;
use super::start_position::{Pass, StartPosition, take_start};
use super::workers::{BatchSource, Transform, Workers, useful_workers};

/// The seed of a run, and of a loader that no trainer has made, where none is set.
pub(crate) const DEFAULT_SEED: u64 = 42;

/// A data loader that can begin in the middle of an epoch without reading what comes before.
///
/// The order of an epoch's items depends on the seed, the epoch's number and the number of items, and on
/// nothing else: not on the number of workers, not on the epochs before, not on the machine. So a resumed run
/// continues with the same items as a run that was never stopped. Finding the position takes no time and no
/// memory, for a dataset of any length.
///
/// Every call of `iter` begins the next epoch, the first call epoch 0. A [`Trainer`](crate::Trainer) sets the
/// epoch instead.
///
/// # Errors and panics
///
/// An error of the dataset takes the place of the batch that it prevents, and ends the iterator. A panic of
/// dataset, transform or batcher, also one on a worker, reaches the caller that asks for that batch, and ends
/// the iterator. The next pass has all workers again.
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
    source: Arc<BatchSource<I, O>>,
    batching: Batching,
    /// The epoch of the next pass, where the training loop sets none.
    epoch: AtomicU64,
    /// Started by the first pass and kept for all others: burn's devices give each thread memory of its own,
    /// and do not get it back when a thread ends (burn's issue 4792).
    workers: OnceLock<Workers<O>>,
}

/// Builds a [`ResumableDataLoader`]; see [`ResumableDataLoader::builder`].
///
/// [`ResumableDataLoader`] has an example.
pub struct ResumableDataLoaderBuilder<I, O> {
    batcher: Arc<dyn Batcher<I, O>>,
    seed: Option<u64>,
    /// The seed of [`ResumableDataLoaderBuilder::shuffled`], and of the transform of a loader that does not
    /// shuffle.
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
    /// Builds a loader whose batches a batcher makes.
    ///
    /// By default a batch is a single item, items come in the dataset's order, and the calling thread makes
    /// the batches.
    #[must_use]
    pub fn builder<B: Batcher<I, O> + 'static>(batcher: B) -> ResumableDataLoaderBuilder<I, O> {
        ResumableDataLoaderBuilder {
            batcher: Arc::new(batcher),
            seed: None,
            run_seed: DEFAULT_SEED,
            transform: None,
            batching: Batching { batch_size: 1, drop_last: false, num_workers: 0, prefetch: 2 },
        }
    }

    /// A loader like this one over another source. It counts its passes from this loader's on.
    fn with(&self, source: BatchSource<I, O>) -> Arc<dyn DataLoader<O>> {
        let epoch = AtomicU64::new(self.epoch.load(Ordering::Relaxed));
        Arc::new(Self { source: Arc::new(source), batching: self.batching, epoch, workers: OnceLock::new() })
    }

    fn pass(&self, start: StartPosition) -> Pass {
        Pass::new(start, self.source.range.len(), self.batching.batch_size, self.batching.drop_last)
    }
}

impl<I: 'static, O: Send + 'static> ResumableDataLoaderBuilder<I, O> {
    /// Items in a batch: 1 by default, and for 0. The last batch of an epoch has the remaining items. A
    /// [`Trainer`](crate::Trainer) warns of a batch that is larger than the data set.
    #[must_use]
    pub fn batch_size(mut self, items: usize) -> Self {
        self.batching.batch_size = items.max(1);
        self
    }

    /// Leave out a last batch that is smaller than the others: off by default, as in burn. The items left out
    /// count neither in the number of items nor in the progress. With shuffling they differ from epoch to
    /// epoch. Where that leaves no batch, training fails with [`Error::NoBatch`](crate::Error::NoBatch)
    /// before its first step.
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
    /// [`Trainer::loader`](crate::Trainer::loader) began. For any other loader it is the default
    /// configuration's seed.
    #[must_use]
    pub fn shuffled(self) -> Self {
        let seed = self.run_seed;
        self.shuffle(seed)
    }

    /// Sets the seed of a run's configuration.
    pub(crate) fn of_run(mut self, seed: u64) -> Self {
        self.run_seed = seed;
        self
    }

    /// Threads that make batches ahead of time: 0 by default, where the calling thread makes each batch when
    /// it asks for it. The batches and their order are the same for any number.
    ///
    /// A loader has no more of them than a pass has batches, and at most 1,024. If the system grants fewer
    /// threads, the loader uses those and logs a warning.
    #[must_use]
    pub fn num_workers(mut self, threads: usize) -> Self {
        self.batching.num_workers = threads;
        self
    }

    /// Batches that each worker has ready or is making: 2 by default, and 1 for 0.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.batching.prefetch = batches.max(1);
        self
    }

    /// Change every item before it goes into a batch, with a seed: for random augmentation that a resumed run
    /// repeats.
    ///
    /// The seed depends on the seed of [`shuffle`](Self::shuffle), the epoch, and the item's index in the
    /// dataset, and on nothing else. A loader without shuffling has the seed of
    /// [`shuffled`](Self::shuffled). Seed the transform's own random number generator with it.
    #[must_use]
    pub fn transform(mut self, transform: impl Fn(I, u64) -> I + Send + Sync + 'static) -> Self {
        self.transform = Some(Arc::new(transform));
        self
    }

    /// Builds the loader of a dataset. The dataset's length is read once, here. Batches are on burn's default
    /// device; `to_device` gives a loader for another one.
    #[must_use]
    pub fn build<D: Dataset<I> + 'static>(self, dataset: D) -> Arc<dyn DataLoader<O>> {
        let source = BatchSource {
            range: 0..dataset.len(),
            dataset: Arc::new(dataset),
            shuffle_seed: self.seed,
            transform_seed: self.seed.unwrap_or(self.run_seed),
            transform: self.transform,
            batcher: self.batcher,
            device: None,
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
    /// The next pass, or the one that the training loop has set.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let start = take_start()
            .unwrap_or_else(|| StartPosition::of_epoch(self.epoch.fetch_add(1, Ordering::Relaxed)));
        let workers = self.workers.get_or_init(|| {
            let Batching { batch_size, num_workers, .. } = self.batching;
            let batches = self.source.range.len().div_ceil(batch_size.max(1));
            Workers::start(&self.source, useful_workers(num_workers, batches))
        });
        Box::new(workers.batches(&self.source, self.pass(start), self.batching.prefetch))
    }

    /// The number of items of an epoch.
    fn num_items(&self) -> usize {
        let Batching { batch_size, drop_last, .. } = self.batching;
        let size = LoaderSize { items: self.source.range.len(), batch_size, drop_last };
        size.answer();
        size.items_in_batches()
    }

    /// The same passes on another device, with workers of its own.
    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        self.with(BatchSource { device: Some(device.clone()), ..BatchSource::clone(&self.source) })
    }

    /// A loader of the items `start..end` of this one's dataset, or as many of them as there are. With
    /// shuffling they have an order of their own.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let whole = &self.source.range;
        let inside = |index: usize| whole.start.saturating_add(index).min(whole.end);
        let start = inside(start);
        self.with(BatchSource { range: start..inside(end).max(start), ..BatchSource::clone(&self.source) })
    }
}
