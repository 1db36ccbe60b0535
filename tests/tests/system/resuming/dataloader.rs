//! The resumable data loader: the same batches with any number of workers, an order of its own for every
//! epoch, and whatever goes wrong in its place.

use std::io;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use burn_trainer::{ResumableDataLoader, ResumableDataLoaderBuilder};

type Loader = Arc<dyn DataLoader<Vec<usize>>>;

struct Lists;

impl Batcher<usize, Vec<usize>> for Lists {
    fn batch(&self, items: Vec<usize>, _device: &Device) -> Vec<usize> {
        items
    }
}

/// A hundred numbers, of which one may be damaged.
struct Hundred {
    damaged: Option<usize>,
}

impl Dataset<usize> for Hundred {
    fn get(&self, index: usize) -> Result<usize, DatasetError> {
        if self.damaged == Some(index) {
            return Err(DatasetError::new(io::Error::other(format!("item {index} is damaged"))));
        }
        Ok(index)
    }

    fn len(&self) -> usize {
        100
    }
}

fn builder(workers: usize) -> ResumableDataLoaderBuilder<usize, Vec<usize>> {
    ResumableDataLoader::builder(Lists).batch_size(7).num_workers(workers)
}

fn shuffled(seed: u64, workers: usize) -> Loader {
    builder(workers).shuffle(seed).build(Hundred { damaged: None })
}

fn epoch(loader: &Loader) -> Vec<Vec<usize>> {
    loader.iter().collect::<Result<_, _>>().unwrap()
}

fn epochs(loader: &Loader) -> Vec<Vec<Vec<usize>>> {
    (0..5).map(|_| epoch(loader)).collect()
}

#[test]
fn any_number_of_workers_gives_the_same_batches() {
    let expected = epochs(&shuffled(42, 0));
    for workers in 1..=3 {
        assert_eq!(epochs(&shuffled(42, workers)), expected, "{workers}");
    }
}

#[test]
fn every_epoch_has_every_item_once_in_an_order_of_its_own() {
    for workers in 0..=3 {
        let mut orders = epochs(&shuffled(42, workers));
        for order in &orders {
            let mut items = order.concat();
            assert!(!items.is_sorted());
            items.sort_unstable();
            assert!(items.into_iter().eq(0..100));
        }
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), 5);
    }
}

#[test]
fn a_seed_gives_its_order_again_and_another_seed_another() {
    assert_eq!(epochs(&shuffled(42, 2)), epochs(&shuffled(42, 1)));
    assert_ne!(epoch(&shuffled(42, 2)), epoch(&shuffled(43, 2)));
    let plain = builder(2).build(Hundred { damaged: None });
    for _epoch in 0..2 {
        assert!(epoch(&plain).concat().into_iter().eq(0..100), "without a seed it is the dataset's");
    }
}

#[test]
fn a_damaged_item_is_an_error_in_its_place() {
    for workers in 0..=3 {
        let loader = builder(workers).build(Hundred { damaged: Some(50) });
        for _epoch in 0..2 {
            let mut iterator = loader.iter();
            let before: Vec<_> = iterator.by_ref().take(7).map(Result::unwrap).collect();
            assert!(before.concat().into_iter().eq(0..49));
            assert_eq!(iterator.next().unwrap().unwrap_err().to_string(), "item 50 is damaged");
            assert!(iterator.next().is_none());
            assert!(!iterator.progress().is_completed());
        }
    }
}

#[test]
fn a_pass_after_one_that_was_left_early_is_whole() {
    for workers in 0..=3 {
        let expected = epochs(&shuffled(42, 0));
        let loader = shuffled(42, workers);
        let mut iterator = loader.iter();
        assert_eq!(iterator.next().unwrap().unwrap(), expected[0][0]);
        drop(iterator);
        assert_eq!(epoch(&loader), expected[1]);
    }
}

#[test]
fn progress_counts_items_and_ends_with_the_last_batch() {
    for workers in 0..=3 {
        for (drop_last, total) in [(false, 100), (true, 98)] {
            let loader = builder(workers).drop_last(drop_last).shuffle(1).build(Hundred { damaged: None });
            assert_eq!(loader.num_items(), total);
            let mut iterator = loader.iter();
            let mut items = 0;
            while let Some(batch) = iterator.next() {
                items += batch.unwrap().len();
                let progress = iterator.progress();
                assert_eq!((progress.items_processed, progress.items_total), (items, total));
            }
            assert_eq!(items, total);
        }
    }
}
