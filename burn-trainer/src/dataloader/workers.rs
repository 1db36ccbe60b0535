//! Makes batches on worker threads, ahead of the training loop, and hands them over in order.
//!
//! An iterator requests its batches one by one, the next one whenever it has given one. So no worker ever
//! waits for a consumer: an iterator that is dropped or idle blocks no other iterator. Batches that a dropped
//! iterator has requested are not made.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use super::shuffle_order::{ShuffleOrder, item_seed};
use super::start_position::Pass;
use crate::process::join_with_limit::join_workers;
use crate::process::run_output::OutputHandle;

/// The most workers of a loader. The memory for the stacks of some ten thousand threads ends a process.
const MAX_WORKERS: usize = 1024;

/// Changes an item by a seed.
pub(super) type Transform<I> = Arc<dyn Fn(I, u64) -> I + Send + Sync>;

/// The data and the functions that batches are made from.
pub(super) struct BatchSource<I, O> {
    pub(super) dataset: Arc<dyn Dataset<I>>,
    /// The part of the dataset.
    pub(super) range: Range<usize>,
    /// By which it is shuffled, if it is.
    pub(super) shuffle_seed: Option<u64>,
    pub(super) transform_seed: u64,
    pub(super) transform: Option<Transform<I>>,
    pub(super) batcher: Arc<dyn Batcher<I, O>>,
    /// Where batches are made; burn's default device unless one is named. Only then is that one looked for: a
    /// program that has a GPU as its default may run where there is none.
    pub(super) device: Option<Device>,
}

/// Threads that make batches. Dropping it joins them, which takes as long as the batch that each is making,
/// but not forever.
pub(super) struct Workers<O> {
    requests: Vec<Sender<BatchRequest<O>>>,
    threads: Vec<JoinHandle<()>>,
}

/// The batches of a pass, made by workers, or without any on the calling thread.
pub(super) struct Batches<'a, I, O> {
    source: &'a BatchSource<I, O>,
    workers: &'a [Sender<BatchRequest<O>>],
    /// How many batches are requested before they are needed.
    ahead: usize,
    pass: Pass,
    /// How many batches have been requested.
    requested: usize,
    pending: VecDeque<PendingBatch<O>>,
    /// The position after the last batch that was given.
    position: usize,
}

/// A batch, the dataset's error, or a panic.
type BatchResult<O> = Result<Result<O, DatasetError>, Box<dyn Any + Send>>;

struct BatchRequest<O> {
    epoch: u64,
    len: usize,
    positions: Range<usize>,
    is_needed: Weak<()>,
    reply: SyncSender<BatchResult<O>>,
}

struct PendingBatch<O> {
    positions: Range<usize>,
    result: Receiver<BatchResult<O>>,
    /// The batch is made only while this is alive.
    _is_needed: Arc<()>,
}

impl<I, O> Clone for BatchSource<I, O> {
    fn clone(&self) -> Self {
        Self {
            dataset: Arc::clone(&self.dataset),
            range: self.range.clone(),
            shuffle_seed: self.shuffle_seed,
            transform_seed: self.transform_seed,
            transform: self.transform.clone(),
            batcher: Arc::clone(&self.batcher),
            device: self.device.clone(),
        }
    }
}

impl<I, O> BatchSource<I, O> {
    /// The batch of some positions of an epoch, in the order of `len` items.
    fn make(&self, epoch: u64, len: usize, positions: Range<usize>) -> BatchResult<O> {
        // Shared state behind these traits is theirs to keep consistent, as if they were called directly.
        catch_unwind(AssertUnwindSafe(|| {
            let range = self.range.start..self.range.start + len;
            let order = self.shuffle_seed.map(|seed| ShuffleOrder::new(seed, epoch, &range));
            let index = |at| self.range.start + order.as_ref().map_or(at, |order| order.item(at));
            let indexes: Vec<usize> = positions.map(index).collect();
            let items = match &self.transform {
                None => self.dataset.get_many(indexes)?,
                Some(transform) => {
                    let seed = |index| item_seed(self.transform_seed, epoch, index);
                    let items = self.dataset.get_many(indexes.clone())?;
                    items.into_iter().zip(indexes).map(|(item, index)| transform(item, seed(index))).collect()
                }
            };
            Ok(self.batcher.batch(items, &self.device.clone().unwrap_or_default()))
        }))
    }
}

/// How many of the workers that a loader is to have are started: no more than there are batches in a pass.
pub(super) fn useful_workers(count: usize, batches: usize) -> usize {
    if count > MAX_WORKERS {
        log::warn!("a data loader is to have {count} workers: it gets {MAX_WORKERS} at most");
    }
    count.min(batches).min(MAX_WORKERS)
}

impl<O: Send + 'static> Workers<O> {
    /// Starts `count` threads, or as many as the system grants. With none, the calling thread makes the
    /// batches.
    pub(super) fn start<I: 'static>(source: &Arc<BatchSource<I, O>>, count: usize) -> Self {
        let mut workers = Self { requests: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (requests, received) = channel::<BatchRequest<O>>();
            let source = Arc::clone(source);
            let output = OutputHandle::of_this_thread();
            let work = move || {
                output.set_for_thread();
                received.into_iter().for_each(|request| request.answer(&source));
            };
            match Builder::new().name(format!("data-loader-{number}")).spawn(work) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    log::warn!("only {number} of {count} workers of a data loader could be started: {error}");
                    break;
                }
            }
            workers.requests.push(requests);
        }
        workers
    }

    /// The batches of a pass; each worker keeps `prefetch` of them ready or in the making.
    pub(super) fn batches<'a, I>(
        &'a self,
        source: &'a BatchSource<I, O>,
        pass: Pass,
        prefetch: usize,
    ) -> Batches<'a, I, O> {
        let ahead = self.requests.len().saturating_mul(prefetch).max(1);
        let position = pass.begin;
        let workers = self.requests.as_slice();
        let mut batches =
            Batches { source, workers, ahead, pass, requested: 0, pending: VecDeque::new(), position };
        batches.request();
        batches
    }
}

impl<O> Drop for Workers<O> {
    fn drop(&mut self) {
        // A worker ends when its channel has no sender.
        self.requests.clear();
        join_workers(self.threads.drain(..));
    }
}

impl<O> BatchRequest<O> {
    fn answer<I>(self, source: &BatchSource<I, O>) {
        if self.is_needed.strong_count() > 0 {
            // Sending fails when the iterator has been dropped.
            let _ = self.reply.send(source.make(self.epoch, self.len, self.positions));
        }
    }
}

impl<I, O> Batches<'_, I, O> {
    /// Requests batches until enough are pending, from one worker after the other.
    fn request(&mut self) {
        while self.pending.len() < self.ahead {
            let Some(positions) = self.pass.positions(self.requested) else { return };
            let (reply, result) = sync_channel(1);
            let is_needed = Arc::new(());
            if let Some(worker) = self.requested.checked_rem(self.workers.len()).map(|at| &self.workers[at]) {
                let (Pass { epoch, len, .. }, positions) = (self.pass, positions.clone());
                // When the worker has ended, `next` makes the batch on the calling thread.
                let _ = worker.send(BatchRequest {
                    epoch,
                    len,
                    positions,
                    is_needed: Arc::downgrade(&is_needed),
                    reply,
                });
            }
            self.pending.push_back(PendingBatch { positions, result, _is_needed: is_needed });
            self.requested += 1;
        }
    }
}

impl<I, O> Iterator for Batches<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let PendingBatch { positions, result, _is_needed } = self.pending.pop_front()?;
        let end = positions.end;
        let result =
            result.recv().unwrap_or_else(|_| self.source.make(self.pass.epoch, self.pass.len, positions));
        match result {
            Ok(Ok(batch)) => {
                self.position = end;
                self.request();
                Some(Ok(batch))
            }
            // Nothing is requested any more, so the iterator ends.
            Ok(Err(error)) => {
                self.pending.clear();
                Some(Err(error))
            }
            Err(panic) => {
                self.pending.clear();
                resume_unwind(panic)
            }
        }
    }
}

impl<I, O> DataLoaderIterator<O> for Batches<'_, I, O> {
    fn progress(&self) -> Progress {
        Progress::new(self.position, self.pass.end, Some("items".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::tests::{Lists, Numbers, batches, with_any_workers};
    use super::super::{ResumableDataLoader, StartPosition};
    use super::*;

    /// Fails instead of waiting forever.
    fn within_20_seconds<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, wait) = channel();
        std::thread::spawn(move || done.send(test()));
        wait.recv_timeout(Duration::from_secs(20)).expect("it hangs, or has failed")
    }

    #[test]
    fn workers_are_ahead_by_their_number_times_prefetch() {
        let numbers = Numbers::new(100);
        let loader = ResumableDataLoader::builder(Lists).num_workers(2).prefetch(3).build(numbers.clone());
        let settled = |count| {
            let begun = Instant::now();
            while numbers.read().len() < count && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(numbers.read().len(), count);
        };
        let mut iterator = loader.iter();
        settled(6);
        iterator.next();
        settled(7);
    }

    #[test]
    fn there_are_no_more_workers_than_batches_or_the_limit() {
        for (count, batches, expected) in [(0, 10, 0), (4, 10, 4), (4, 3, 3), (1024, 5000, 1024)] {
            assert_eq!(useful_workers(count, batches), expected);
        }
        assert_eq!(useful_workers(usize::MAX, usize::MAX), MAX_WORKERS);
        // Each would take memory.
        let loader =
            ResumableDataLoader::builder(Lists).batch_size(4).num_workers(usize::MAX).build(Numbers::new(10));
        assert_eq!(batches(loader.iter()).concat(), Vec::from_iter(0..10));
    }

    #[test]
    fn iterators_do_not_wait_for_each_other() {
        let pairs = within_20_seconds(|| {
            let loader =
                ResumableDataLoader::builder(Lists).num_workers(2).prefetch(1).build(Numbers::new(50));
            let idle = loader.iter();
            let pairs =
                loader.iter().zip(loader.iter()).filter(|(a, b)| matches!((a, b), (Ok(a), Ok(b)) if a == b));
            let pairs = pairs.count();
            drop(idle);
            pairs
        });
        assert_eq!(pairs, 50);
    }

    #[test]
    fn an_iterator_that_is_dropped_ends_only_itself() {
        within_20_seconds(|| {
            with_any_workers(3, |builder| {
                let loader = builder.build(Numbers::new(50));
                for taken in [0, 1, 5] {
                    loader.iter().take(taken).for_each(drop);
                    assert_eq!(batches(loader.iter()).concat(), Vec::from_iter(0..50));
                }
            });
        });
    }

    #[test]
    fn batches_that_a_dropped_iterator_has_requested_are_not_made() {
        let numbers = Numbers::new(100);
        let loader = ResumableDataLoader::builder(Lists).num_workers(1).prefetch(50).build(numbers.clone());
        // The worker cannot get past its first item meanwhile.
        let blocked = numbers.read.lock();
        drop(loader.iter());
        drop(blocked);
        drop(loader);
        assert!(numbers.read().len() <= 1, "{:?}", numbers.read());
    }

    #[test]
    fn batches_of_a_worker_that_has_ended_are_made_on_the_calling_thread() {
        let source = BatchSource {
            dataset: Arc::new(Numbers::new(10)),
            range: 0..10,
            shuffle_seed: None,
            transform_seed: 0,
            transform: None,
            batcher: Arc::new(Lists),
            device: None,
        };
        let source: Arc<BatchSource<usize, Vec<usize>>> = Arc::new(source);
        let mut workers = Workers::start(&source, 2);
        workers.requests[1] = channel().0;
        let given = workers.batches(&source, Pass::new(StartPosition::of_epoch(0), 10, 3, false), 2);
        assert_eq!(batches(Box::new(given)).concat(), Vec::from_iter(0..10));
    }

    #[test]
    fn a_loader_that_is_dropped_ends_its_workers() {
        let left = within_20_seconds(|| {
            let numbers = Numbers::new(1_000_000);
            let loader =
                ResumableDataLoader::builder(Lists).num_workers(3).prefetch(50).build(numbers.clone());
            drop(loader.iter());
            // An iterator that is never dropped still wants its batches.
            std::mem::forget(loader.iter());
            drop(loader);
            Arc::strong_count(&numbers.read)
        });
        assert_eq!(left, 1, "no thread has the dataset any more");
    }
}
