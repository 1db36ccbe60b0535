//! The search for the largest batch: what it tries and finds, and that a run after it is as if it had not
//! been.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataset::{Dataset, InMemDataset};
use burn::optim::{AdamConfig, SgdConfig};
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use burn_trainer::finders::{BatchFit, BatchSizeEnd, BatchSizeFinder, BatchSizeMode, FoundBatchSize};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Error, Result, ResumableDataLoader, Trainer};
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Batch, Counting, ItemBatcher, Model, STEPS_PER_EPOCH, Script, config, items, loader, shuffling,
};
use system_tests::run_files::{compare, files, in_memory, run_dir};

/// As a GPU's backend says it.
const OUT_OF_MEMORY: &str = "out of device memory allocating 4096 bytes\n   0: cubecl_runtime::alloc";
/// Items of the data.
const ITEMS: usize = STEPS_PER_EPOCH * BATCH;

fn finder() -> BatchSizeFinder {
    // Other tests of this process use memory too.
    BatchSizeFinder::new().with_memory_limit(1 << 50)
}

fn search_in(
    finder: BatchSizeFinder,
    loader: impl Fn(usize) -> Arc<dyn DataLoader<Batch>>,
    script: Script,
) -> Result<FoundBatchSize> {
    let root = in_memory();
    let trainer = Trainer::new(config(root.path(), 1), &script.hparams())?;
    let model = Model::new(script, &backend::device().autodiff());
    trainer.find_batch_size(finder, loader, &model, &AdamConfig::new().init_streamed())
}

fn search(finder: BatchSizeFinder, script: Script) -> Result<FoundBatchSize> {
    search_in(finder, shuffling, script)
}

/// A device on which so many items fit.
fn fitting(items: usize) -> Script {
    Script { panic_above: Some((items, OUT_OF_MEMORY)), ..Script::default() }
}

fn sizes(found: &FoundBatchSize) -> Vec<usize> {
    found.tried.iter().map(|tried| tried.batch_size).collect()
}

#[test]
fn the_largest_batch_of_a_device_is_found_by_doubling_and_between_two_powers() {
    let found = search(finder(), fitting(20)).unwrap();
    assert_eq!((found.batch_size, found.end), (16, BatchSizeEnd::DoesNotFit));
    assert_eq!(sizes(&found), [2, 4, 8, 16, 32]);
    assert!(found.tried[..4].iter().all(|tried| tried.fit == BatchFit::Fits), "{found:?}");
    assert!(found.tried[..4].iter().all(|tried| tried.items_per_second.unwrap() > 0.0), "{found:?}");
    let BatchFit::OutOfMemory { reason } = &found.tried[4].fit else { panic!("{found:?}") };
    assert_eq!(reason, "out of device memory allocating 4096 bytes");
    assert_eq!(found.to_string(), "largest batch size that fits: 16 (32 does not fit)");

    let found = search(finder().with_mode(BatchSizeMode::BinarySearch), fitting(20)).unwrap();
    assert_eq!((found.batch_size, found.end), (20, BatchSizeEnd::DoesNotFit));
    assert_eq!(found.to_string(), "largest batch size that fits: 20 (21 does not fit)");
    // A first size that is too large.
    let found = search(finder().with_init_size(64), fitting(20)).unwrap();
    assert_eq!((found.batch_size, sizes(&found)), (16, vec![64, 32, 16]));
}

#[test]
fn a_search_ends_with_the_data_the_largest_size_or_the_trials() {
    let found = search(finder(), Script::default()).unwrap();
    assert_eq!((found.batch_size, found.end), (ITEMS, BatchSizeEnd::AllItems));
    assert_eq!(sizes(&found), [2, 4, 8, 16, 32, 64, ITEMS]);
    let found = search(finder().with_max_size(30), Script::default()).unwrap();
    assert_eq!(
        (found.batch_size, found.end, sizes(&found)),
        (30, BatchSizeEnd::MaxSize, vec![2, 4, 8, 16, 30])
    );
    let found = search(finder().with_max_trials(3), Script::default()).unwrap();
    assert_eq!((found.batch_size, found.end, sizes(&found)), (8, BatchSizeEnd::MaxTrials, vec![2, 4, 8]));

    let directory = in_memory();
    found.write_csv(directory.path().join("sizes.csv")).unwrap();
    let csv = std::fs::read_to_string(directory.path().join("sizes.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("2,fits,"), "{csv}");
}

#[test]
fn fewer_items_than_devices_are_batches_of_one() {
    let root = in_memory();
    let script = Script::default();
    let devices = (0..4).map(|_| backend::device());
    let trainer = Trainer::new(config(root.path(), 1), &script.hparams()).unwrap().devices(devices);
    let three = |size: usize| -> Arc<dyn DataLoader<Batch>> {
        let items = items().iter().take(3).map(std::result::Result::unwrap).collect();
        ResumableDataLoader::builder(ItemBatcher).batch_size(size).build(InMemDataset::new(items))
    };
    let model = Model::new(script, &backend::device().autodiff());
    let finder = finder().with_max_trials(4);
    let found = trainer.find_batch_size(finder, three, &model, &AdamConfig::new().init_streamed()).unwrap();
    assert_eq!((found.batch_size, found.end, sizes(&found)), (1, BatchSizeEnd::AllItems, vec![1]));
}

#[test]
fn a_batch_of_one_that_does_not_fit_is_an_error_that_says_what_to_do() {
    let error = search(finder(), fitting(0)).unwrap_err();
    let Error::NoBatchFits { batch_size: 1, reason } = &error else { panic!("{error}") };
    assert_eq!(reason, "out of device memory allocating 4096 bytes");
    assert!(error.to_string().contains("gradient_checkpointing"), "{error}");
    let error = search(finder().with_init_size(64).with_max_trials(2), fitting(0)).unwrap_err();
    assert!(matches!(&error, Error::NoBatchFits { batch_size: 32, .. }), "{error}");
    assert!(error.to_string().contains("more trials"), "{error}");
}

#[test]
fn another_failure_is_not_taken_for_a_lack_of_memory() {
    let message = "index out of bounds: the memory has 4 cells";
    let other = Script { panic_above: Some((20, message)), ..Script::default() };
    let error = search(finder(), other).unwrap_err();
    assert!(matches!(&error, Error::Panicked { message: said, .. } if said == message), "{error}");
    let failing = Script { loader_fails_at: Some(2), ..Script::default() };
    let error = search_in(finder(), |_| loader(&failing), Script::default()).unwrap_err();
    assert!(matches!(error, Error::Training { .. }), "{error}");
    let empty = Script { batches: Some(0), ..Script::default() };
    let error = search_in(finder(), |_| loader(&empty), Script::default()).unwrap_err();
    assert!(matches!(error, Error::NoBatch { .. }), "{error}");
    // A function that leaves out the size.
    let error = search_in(finder(), |_| shuffling(BATCH), Script::default()).unwrap_err();
    let Error::Config { setting, reason } = &error else { panic!("{error}") };
    assert!(setting == "batch_size" && reason.contains("2 items") && reason.contains("of 8"), "{error}");
    let error = search(BatchSizeFinder::new().with_init_size(0), Script::default()).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "init_size"), "{error}");
}

#[test]
fn a_limit_below_what_the_process_uses_already_is_an_error() {
    let error = search(BatchSizeFinder::new().with_memory_limit(1 << 20), Script::default()).unwrap_err();
    let Error::Config { setting, reason } = &error else { panic!("{error}") };
    assert!(setting == "memory_limit" && reason.contains("1.0 MiB"), "{error}");
}

/// Trains two epochs, after a search if there is a finder.
fn train(root: &Path, devices: usize, finder: Option<BatchSizeFinder>) {
    let script = fitting(20);
    let trainer = Trainer::new(config(root, 2), &script.hparams()).unwrap();
    let trainer = trainer.devices((0..devices).map(|_| backend::device())).callback(Counting::default());
    let (data, model) = (shuffling(BATCH), Model::new(script, &backend::device().autodiff()));
    let optimizer = AdamConfig::new().init_streamed();
    if let Some(finder) = finder {
        let before = files(root);
        let found = trainer.find_batch_size(finder, shuffling, &model, &optimizer).unwrap();
        assert_eq!(found.batch_size, 20);
        assert_eq!(files(root), before, "the search writes nothing");
    }
    let training: SupervisedTraining<Model> = trainer.training(Arc::clone(&data), data);
    let training = training.metrics((LossMetric::new(),)).grads_accumulation(2);
    trainer.fit(training, Learner::new(model, optimizer, 1e-2)).unwrap();
}

#[test]
fn a_run_after_a_search_ends_with_the_same_bytes_as_one_without() {
    for devices in [1, 2] {
        let (without, with) = (in_memory(), in_memory());
        train(without.path(), devices, None);
        let finder = finder().with_mode(BatchSizeMode::BinarySearch).with_grads_accumulation(2);
        train(with.path(), devices, Some(finder));
        compare(&run_dir(without.path()), &run_dir(with.path())).unwrap();
    }
}

#[test]
fn several_devices_share_the_items() {
    let root = in_memory();
    let trainer = Trainer::new(config(root.path(), 1), &Script::default().hparams()).unwrap();
    let trainer = trainer.devices([backend::device(), backend::device()]);
    let model = Model::new(Script::default(), &backend::device().autodiff());
    let found = trainer.find_batch_size(finder(), shuffling, &model, &SgdConfig::new().init()).unwrap();
    assert_eq!((found.batch_size, found.end), (ITEMS / 2, BatchSizeEnd::AllItems));
}
