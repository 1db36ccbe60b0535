//! How batches are made: on threads of their own, ahead of the training loop, and handed over in order.
//!
//! An iterator asks for each of its batches by itself, the next one whenever it has given one. So no worker ever
//! waits for a consumer: an iterator that is dropped, or not asked for a while, keeps no other one waiting. What
//! it had asked for is not made any more.

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

use super::shuffle_order::{Order, item_seed};
use super::start_position::Pass;

/// Changes an item by a seed.
pub(super) type Transform<I> = Arc<dyn Fn(I, u64) -> I + Send + Sync>;

/// What batches are made from.
pub(super) struct Source<I, O> {
    pub(super) dataset: Arc<dyn Dataset<I>>,
    /// Of the dataset.
    pub(super) range: Range<usize>,
    pub(super) seed: Option<u64>,
    pub(super) transform: Option<Transform<I>>,
    pub(super) batcher: Arc<dyn Batcher<I, O>>,
    pub(super) device: Device,
}

/// Threads that make batches. They are joined when this is dropped, at the latest after the batch that each is
/// at.
pub(super) struct Workers<O> {
    jobs: Vec<Sender<Job<O>>>,
    threads: Vec<JoinHandle<()>>,
}

/// The batches of a pass, made by workers, or without any by whoever asks for the next one.
pub(super) struct Batches<'a, I, O> {
    source: &'a Source<I, O>,
    workers: &'a [Sender<Job<O>>],
    /// How many are asked for before they are due.
    ahead: usize,
    pass: Pass,
    /// How many have been asked for.
    asked: usize,
    due: VecDeque<Due<O>>,
    /// The position after the last batch that was given.
    position: usize,
}

/// A batch, the dataset's error, or a panic.
type Made<O> = Result<Result<O, DatasetError>, Box<dyn Any + Send>>;

struct Job<O> {
    epoch: u64,
    positions: Range<usize>,
    wanted: Weak<()>,
    reply: SyncSender<Made<O>>,
}

struct Due<O> {
    positions: Range<usize>,
    made: Receiver<Made<O>>,
    /// As long as it lives the batch is wanted.
    _wanted: Arc<()>,
}

impl<I, O> Clone for Source<I, O> {
    fn clone(&self) -> Self {
        Self {
            dataset: Arc::clone(&self.dataset),
            range: self.range.clone(),
            seed: self.seed,
            transform: self.transform.clone(),
            batcher: Arc::clone(&self.batcher),
            device: self.device.clone(),
        }
    }
}

impl<I, O> Source<I, O> {
    fn make(&self, epoch: u64, positions: Range<usize>) -> Made<O> {
        // What is behind these traits and shared is theirs to keep whole, as if they were called directly.
        catch_unwind(AssertUnwindSafe(|| {
            let order = self.seed.map(|seed| Order::new(seed, epoch, &self.range));
            let index = |at| self.range.start + order.as_ref().map_or(at, |order| order.item(at));
            let indexes: Vec<usize> = positions.map(index).collect();
            let items = match &self.transform {
                None => self.dataset.get_many(indexes)?,
                Some(transform) => {
                    let seed = |index| item_seed(self.seed.unwrap_or(0), epoch, index);
                    let items = self.dataset.get_many(indexes.clone())?;
                    items.into_iter().zip(indexes).map(|(item, index)| transform(item, seed(index))).collect()
                }
            };
            Ok(self.batcher.batch(items, &self.device))
        }))
    }
}

impl<O: Send + 'static> Workers<O> {
    /// Starts `count` threads, or as many as the system grants. With none, batches are made as without workers.
    pub(super) fn start<I: 'static>(source: &Arc<Source<I, O>>, count: usize) -> Self {
        let mut workers = Self { jobs: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (jobs, todo) = channel::<Job<O>>();
            let source = Arc::clone(source);
            let work = move || todo.into_iter().for_each(|job| job.run(&source));
            match Builder::new().name(format!("data-loader-{number}")).spawn(work) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    log::warn!("only {number} of {count} workers of a data loader could be started: {error}");
                    break;
                }
            }
            workers.jobs.push(jobs);
        }
        workers
    }

    /// The batches of a pass; each worker keeps `prefetch` of them ready or in the making.
    pub(super) fn batches<'a, I>(
        &'a self,
        source: &'a Source<I, O>,
        pass: Pass,
        prefetch: usize,
    ) -> Batches<'a, I, O> {
        let ahead = self.jobs.len().saturating_mul(prefetch).max(1);
        let position = pass.begin;
        let workers = self.jobs.as_slice();
        let mut batches = Batches { source, workers, ahead, pass, asked: 0, due: VecDeque::new(), position };
        batches.ask();
        batches
    }
}

impl<O> Drop for Workers<O> {
    fn drop(&mut self) {
        // Without a sender a worker's queue ends.
        self.jobs.clear();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so, and its batches were made elsewhere.
            let _ = thread.join();
        }
    }
}

impl<O> Job<O> {
    fn run<I>(self, source: &Source<I, O>) {
        if self.wanted.strong_count() > 0 {
            // If it cannot be sent, nobody wants it any more.
            let _ = self.reply.send(source.make(self.epoch, self.positions));
        }
    }
}

impl<I, O> Batches<'_, I, O> {
    /// Asks for batches until enough are due, worker by worker.
    fn ask(&mut self) {
        while self.due.len() < self.ahead {
            let Some(positions) = self.pass.positions(self.asked) else { return };
            let (reply, made) = sync_channel(1);
            let wanted = Arc::new(());
            if let Some(worker) = self.asked.checked_rem(self.workers.len()).map(|at| &self.workers[at]) {
                let (epoch, positions) = (self.pass.epoch, positions.clone());
                // A worker that is gone drops the job, as if there were no workers: see `next`.
                let _ = worker.send(Job { epoch, positions, wanted: Arc::downgrade(&wanted), reply });
            }
            self.due.push_back(Due { positions, made, _wanted: wanted });
            self.asked += 1;
        }
    }
}

impl<I, O> Iterator for Batches<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Due { positions, made, _wanted } = self.due.pop_front()?;
        let end = positions.end;
        let made = made.recv().unwrap_or_else(|_| self.source.make(self.pass.epoch, positions));
        match made {
            Ok(Ok(batch)) => {
                self.position = end;
                self.ask();
                Some(Ok(batch))
            }
            // Nothing is asked for any more, so that this is the end.
            Ok(Err(error)) => {
                self.due.clear();
                Some(Err(error))
            }
            Err(panic) => {
                self.due.clear();
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
    use super::super::{ResumableDataLoader, Start};
    use super::*;

    /// Fails instead of waiting for ever.
    fn soon<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, wait) = channel();
        std::thread::spawn(move || done.send(test()));
        wait.recv_timeout(Duration::from_secs(20)).expect("it hangs, or has failed")
    }

    #[test]
    fn workers_are_ahead_by_what_was_said_and_no_more() {
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
    fn iterators_do_not_wait_for_each_other() {
        let pairs = soon(|| {
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
        soon(|| {
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
    fn what_a_dropped_iterator_had_asked_for_is_not_made() {
        let numbers = Numbers::new(100);
        let loader = ResumableDataLoader::builder(Lists).num_workers(1).prefetch(50).build(numbers.clone());
        // The worker cannot get past its first item meanwhile.
        let held = numbers.read.lock().unwrap();
        drop(loader.iter());
        drop(held);
        drop(loader);
        assert!(numbers.read().len() <= 1, "{:?}", numbers.read());
    }

    #[test]
    fn batches_of_a_worker_that_is_gone_are_made_by_whoever_asks() {
        let source = Source {
            dataset: Arc::new(Numbers::new(10)),
            range: 0..10,
            seed: None,
            transform: None,
            batcher: Arc::new(Lists),
            device: Device::default(),
        };
        let source: Arc<Source<usize, Vec<usize>>> = Arc::new(source);
        let mut workers = Workers::start(&source, 2);
        workers.jobs[1] = channel().0;
        let given = workers.batches(&source, Pass::new(Start::of(0), 10, 3, false), 2);
        assert_eq!(batches(Box::new(given)).concat(), Vec::from_iter(0..10));
    }

    #[test]
    fn a_loader_that_is_dropped_ends_its_workers() {
        let left = soon(|| {
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
