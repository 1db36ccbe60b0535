//! The loader as a whole: the same batches from any number of workers, and errors and panics that end a pass.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use burn_ckpt::plumbing::panic_message;
use parking_lot::Mutex;

use super::{ResumableDataLoader, ResumableDataLoaderBuilder, StartPosition, iter_from};
use crate::dataloader::DEFAULT_SEED;

/// Batches are lists of their items.
pub(super) struct Lists;

impl<I> Batcher<I, Vec<I>> for Lists {
    fn batch(&self, items: Vec<I>, _device: &Device) -> Vec<I> {
        items
    }
}

/// The numbers below `len`, some of which cannot be read. Notes the ones that were read.
#[derive(Clone)]
pub(super) struct Numbers {
    len: usize,
    fails: Range<usize>,
    panics: Range<usize>,
    pub(super) read: Arc<Mutex<Vec<usize>>>,
}

impl Numbers {
    pub(super) fn new(len: usize) -> Self {
        Self { len, fails: 0..0, panics: 0..0, read: Arc::default() }
    }

    pub(super) fn read(&self) -> Vec<usize> {
        self.read.lock().clone()
    }
}

impl Dataset<usize> for Numbers {
    fn get(&self, index: usize) -> Result<usize, DatasetError> {
        assert!(!self.panics.contains(&index), "no item {index}");
        if self.fails.contains(&index) {
            return Err(DatasetError::new(io::Error::other(format!("item {index} is damaged"))));
        }
        self.read.lock().push(index);
        Ok(index)
    }

    fn len(&self) -> usize {
        self.len
    }
}

type Builder = ResumableDataLoaderBuilder<usize, Vec<usize>>;

/// Runs a test with several numbers of workers.
pub(super) fn with_any_workers(batch_size: usize, test: impl Fn(Builder)) {
    for workers in 0..=3 {
        for prefetch in [1, 2, 100] {
            let builder = ResumableDataLoader::builder(Lists).batch_size(batch_size);
            test(builder.num_workers(workers).prefetch(prefetch));
        }
    }
}

pub(super) fn batches<'a>(iterator: Box<dyn DataLoaderIterator<Vec<usize>> + 'a>) -> Vec<Vec<usize>> {
    iterator.collect::<Result<_, _>>().unwrap()
}

fn from(loader: &Arc<dyn DataLoader<Vec<usize>>>, start: StartPosition) -> Vec<Vec<usize>> {
    batches(iter_from(&**loader, start).0)
}

#[test]
fn workers_keep_the_order() {
    let alone = ResumableDataLoader::builder(Lists).batch_size(3).shuffle(5).build(Numbers::new(50));
    let expected: Vec<_> = (0..4).map(|_| batches(alone.iter())).collect();
    with_any_workers(3, |builder| {
        let loader = builder.shuffle(5).build(Numbers::new(50));
        let given: Vec<_> = (0..4).map(|_| batches(loader.iter())).collect();
        assert_eq!(given, expected);
    });
}

#[test]
fn a_pass_begins_at_any_item() {
    with_any_workers(3, |builder| {
        let loader = builder.shuffle(5).build(Numbers::new(20));
        let whole = from(&loader, StartPosition::of_epoch(6)).concat();
        assert_ne!(whole, from(&loader, StartPosition::of_epoch(7)).concat());
        for items in 0..=21 {
            let rest = from(&loader, StartPosition { items: items as u64, ..StartPosition::of_epoch(6) });
            assert_eq!(rest.concat(), whole[items.min(20)..]);
        }
    });
}

#[test]
fn shards_together_give_the_pass() {
    with_any_workers(3, |builder| {
        let loader = builder.shuffle(5).build(Numbers::new(20));
        let whole = from(&loader, StartPosition { items: 3, ..StartPosition::of_epoch(6) });
        let shard =
            |shard| from(&loader, StartPosition { epoch: 6, items: 3, began_with: None, shard, shards: 2 });
        let (first, second) = (shard(0), shard(1));
        let together = first.iter().zip(&second).flat_map(|(one, other)| [one, other]);
        assert!(together.eq(&whole), "{first:?} {second:?}");
    });
}

#[test]
fn copies_count_passes_of_their_own() {
    let loader = ResumableDataLoader::builder(Lists).shuffle(5).build(Numbers::new(20));
    let epochs: Vec<_> = (0..4).map(|epoch| from(&loader, StartPosition::of_epoch(epoch))).collect();
    assert_eq!(batches(loader.iter()), epochs[0]);
    assert_eq!(batches(loader.iter()), epochs[1]);
    let copy = loader.to_device(&Device::default());
    assert_eq!(batches(loader.iter()), epochs[2]);
    assert_eq!(batches(copy.iter()), epochs[2], "it counts by itself");
    assert_eq!(batches(copy.iter()), epochs[3]);
}

#[test]
fn a_billion_items_are_as_fast_as_ten() {
    let numbers = Numbers::new(1_000_000_000);
    let loader = ResumableDataLoader::builder(Lists).batch_size(8).shuffle(5).build(numbers.clone());
    let items = 999_999_980;
    let (mut iterator, _) = iter_from(&*loader, StartPosition { items, ..StartPosition::of_epoch(2) });
    let first = iterator.next().unwrap().unwrap();
    assert_eq!(numbers.read(), first);
    let rest: Vec<_> = iterator.map(Result::unwrap).collect();
    assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4]);
    assert_eq!(numbers.read().len(), 20);
    assert_eq!(numbers.read().iter().collect::<BTreeSet<_>>().len(), 20);
}

#[test]
fn progress_is_complete_with_the_last_batch_and_no_earlier() {
    for (len, drop_last, begin, ends) in [
        (10, false, 0, vec![4, 8, 10]),
        (10, false, 4, vec![8, 10]),
        (8, false, 0, vec![4, 8]),
        (10, true, 0, vec![4, 8]),
        (3, true, 0, vec![]),
        (0, false, 0, vec![]),
        (10, false, 10, vec![]),
    ] {
        with_any_workers(4, |builder| {
            let loader = builder.shuffle(5).drop_last(drop_last).build(Numbers::new(len));
            let (mut iterator, _) =
                iter_from(&*loader, StartPosition { items: begin, ..StartPosition::of_epoch(0) });
            let mut left = ends.len();
            let mut given = Vec::new();
            loop {
                let progress = iterator.progress();
                assert_eq!(progress.is_completed(), left == 0, "{progress:?}");
                assert_eq!(progress.items_total, loader.num_items());
                assert_eq!(progress.unit.as_deref(), Some("items"));
                let Some(batch) = iterator.next() else { break };
                drop(batch.unwrap());
                given.push(iterator.progress().items_processed);
                left -= 1;
            }
            assert_eq!(given, ends);
        });
    }
}

#[test]
fn an_error_comes_in_its_place_and_ends_the_pass() {
    with_any_workers(2, |builder| {
        let loader = builder.build(Numbers { fails: 9..12, ..Numbers::new(20) });
        for _pass in 0..2 {
            let mut iterator = loader.iter();
            for first in [0, 2, 4, 6] {
                assert_eq!(iterator.next().unwrap().unwrap(), [first, first + 1]);
            }
            assert_eq!(iterator.next().unwrap().unwrap_err().to_string(), "item 9 is damaged");
            assert!(iterator.next().is_none());
            assert_eq!(iterator.progress().items_processed, 8);
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_next_pass_is_whole() {
    with_any_workers(2, |builder| {
        let loader = builder.build(Numbers { panics: 9..10, ..Numbers::new(20) });
        let mut iterator = loader.iter();
        assert_eq!(iterator.by_ref().take(4).filter(Result::is_ok).count(), 4);
        let panic = catch_unwind(AssertUnwindSafe(|| iterator.next().is_some())).unwrap_err();
        assert_eq!(panic_message(&*panic), "no item 9");
        assert!(iterator.next().is_none());
        drop(iterator);
        assert_eq!(
            from(&loader, StartPosition { items: 10, ..StartPosition::of_epoch(1) }).concat(),
            Vec::from_iter(10..20)
        );
    });
}

#[test]
fn a_panic_of_transform_or_batcher_does_too() {
    struct Fails;
    impl Batcher<usize, Vec<usize>> for Fails {
        fn batch(&self, _items: Vec<usize>, _device: &Device) -> Vec<usize> {
            panic!("no batch")
        }
    }
    let batcher = ResumableDataLoader::builder(Fails).num_workers(1).build(Numbers::new(2));
    let transform = |_, _| panic!("no change");
    let transform =
        ResumableDataLoader::builder(Lists).num_workers(1).transform(transform).build(Numbers::new(2));
    for (loader, message) in [(batcher, "no batch"), (transform, "no change")] {
        let panic = catch_unwind(AssertUnwindSafe(|| loader.iter().next().is_some())).unwrap_err();
        assert_eq!(panic_message(&*panic), message);
    }
}

#[test]
fn a_transform_depends_on_the_item_and_the_epoch_alone() {
    fn seeds(builder: Builder, begin: usize, start: StartPosition) -> BTreeSet<(usize, usize)> {
        let loader = builder.transform(|item, seed| item << 32 | (seed >> 32) as usize);
        let given = from(&loader.build(Numbers::new(20)).slice(begin, 20), start).concat();
        given.into_iter().map(|both| (both >> 32, both & 0xffff_ffff)).collect()
    }
    let builder = || ResumableDataLoader::builder(Lists);
    let whole = seeds(builder().shuffle(5), 0, StartPosition::of_epoch(1));
    assert_eq!(whole.iter().map(|(_, seed)| seed).collect::<BTreeSet<_>>().len(), 20);
    assert!(whole.is_disjoint(&seeds(builder().shuffle(5), 0, StartPosition::of_epoch(2))));
    assert!(whole.is_disjoint(&seeds(builder().shuffle(6), 0, StartPosition::of_epoch(1))));
    // Without shuffling it is the run's.
    for (unshuffled, seed) in [(builder(), DEFAULT_SEED), (builder().of_run(7), 7)] {
        assert_eq!(
            seeds(unshuffled, 0, StartPosition::of_epoch(1)),
            seeds(builder().shuffle(seed), 0, StartPosition::of_epoch(1))
        );
    }
    with_any_workers(3, |builder| {
        let part = seeds(builder.shuffle(5), 7, StartPosition { items: 2, ..StartPosition::of_epoch(1) });
        assert_eq!(part.len(), 11);
        assert!(part.is_subset(&whole));
    });
}

#[test]
fn batches_are_made_for_the_loaders_device() {
    struct Place;
    impl Batcher<usize, (bool, usize)> for Place {
        fn batch(&self, items: Vec<usize>, device: &Device) -> (bool, usize) {
            (device.is_autodiff(), items[0])
        }
    }
    for workers in [0, 2] {
        let builder = ResumableDataLoader::builder(Place).shuffle(5).num_workers(workers);
        let loader = builder.build(Numbers::new(20));
        // There is one device on every machine, which can be told from itself by this.
        let other = loader.to_device(&Device::default().autodiff());
        let given = |loader: &dyn DataLoader<_>| loader.iter().map(Result::unwrap).unzip();
        let (here, items): (Vec<_>, Vec<_>) = given(&*loader);
        let (there, other_items): (Vec<_>, Vec<_>) = given(&*other);
        assert_eq!(items, other_items);
        assert_eq!((here, there), (vec![false; 20], vec![true; 20]));
    }
}

#[test]
fn slices_are_of_the_dataset_and_stay_inside() {
    with_any_workers(3, |builder| {
        let loader = builder.build(Numbers::new(20));
        let slice = |start, end| loader.slice(start, end);
        assert_eq!(batches(slice(5, 9).iter()), [vec![5, 6, 7], vec![8]]);
        assert_eq!(batches(slice(5, 15).slice(8, 30).iter()), [[13, 14]]);
        for (start, end, len) in [(15, 99, 5), (9, 5, 0), (99, usize::MAX, 0), (0, usize::MAX, 20)] {
            assert_eq!(slice(start, end).num_items(), len);
            assert_eq!(batches(slice(start, end).iter()).concat().len(), len);
        }
    });
    let shuffled = ResumableDataLoader::builder(Lists).shuffle(5).build(Numbers::new(20));
    let mut items = batches(shuffled.slice(5, 15).iter()).concat();
    assert!(!items.is_sorted());
    items.sort_unstable();
    assert!(items.into_iter().eq(5..15));
}

#[test]
fn extreme_arguments_are_valid() {
    for (size, prefetch, len) in [(0, 0, 7), (usize::MAX, usize::MAX, 7), (0, usize::MAX, 0)] {
        for workers in [0, 2] {
            let builder = ResumableDataLoader::builder(Lists).batch_size(size).prefetch(prefetch);
            let loader = builder.num_workers(workers).build(Numbers::new(len));
            assert_eq!(batches(loader.iter()).concat(), Vec::from_iter(0..len));
        }
    }
}
