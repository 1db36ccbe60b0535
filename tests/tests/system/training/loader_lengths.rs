//! Loaders that do not know their length, or are wrong about it: an epoch ends where the iterator ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn::train::logger::TrainingProgressLogger;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{ExecutionStrategy, SupervisedTraining};
use burn_ckpt::Checkpoint;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::backend;
use system_tests::config;
use system_tests::models::small::{
    BATCH, Batch, Model, OnStep, STEPS_PER_EPOCH, Script, in_two_parts_is_as_in_one, learner, loader,
    shuffling, stopper,
};
use system_tests::run_files::{checkpoints, compare, in_memory, run_dir, stems};

/// What a loader says of its progress after so many items.
type Account = fn(usize) -> (usize, usize);

/// True, as burn's loaders tell it.
const HONEST: Account = |done| (done, STEPS_PER_EPOCH * BATCH);

/// Ways of not knowing a length, or of being wrong about it, each with the loader's number of items.
const WRONG: [(&str, usize, Account); 10] = [
    ("done as the total", 80, |done| (done, done)),
    ("done as the total, without a length", usize::MAX, |done| (done, done)),
    ("0 as the total", 0, |done| (done, 0)),
    ("the largest number", usize::MAX, |done| (done, usize::MAX)),
    ("too small", 40, |done| (done, 40)),
    ("too large", 1000, |done| (done, 1000)),
    ("nothing at all", 0, |_| (0, 0)),
    ("nothing but largest numbers", usize::MAX, |_| (usize::MAX, usize::MAX)),
    ("never whole", 80, |done| (done / 2, 80)),
    ("whole within the epoch", 80, |done| (done * 2, 80)),
];

/// A loader around another, with an account of its own.
struct Claiming {
    batches: Arc<dyn DataLoader<Batch>>,
    num_items: usize,
    account: Account,
    /// What is done before a batch is read, with its number over all passes, counted from 1. For the batch
    /// after the last too.
    on_read: Arc<dyn Fn(usize) + Send + Sync>,
    read: Arc<AtomicUsize>,
}

impl Claiming {
    fn with(batches: Arc<dyn DataLoader<Batch>>, num_items: usize, account: Account) -> Self {
        Self { batches, num_items, account, on_read: Arc::new(|_| {}), read: Arc::default() }
    }

    fn like(&self, batches: Arc<dyn DataLoader<Batch>>) -> Arc<dyn DataLoader<Batch>> {
        let (on_read, read) = (Arc::clone(&self.on_read), Arc::clone(&self.read));
        Arc::new(Self { batches, on_read, read, ..*self })
    }
}

struct ClaimingBatches<'a> {
    batches: Box<dyn DataLoaderIterator<Batch> + 'a>,
    loader: &'a Claiming,
}

impl DataLoader<Batch> for Claiming {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(ClaimingBatches { batches: self.batches.iter(), loader: self })
    }

    fn num_items(&self) -> usize {
        self.num_items
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        self.like(self.batches.to_device(device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        self.like(self.batches.slice(start, end))
    }
}

impl Iterator for ClaimingBatches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.loader.on_read)(self.loader.read.fetch_add(1, Ordering::SeqCst) + 1);
        self.batches.next()
    }
}

impl DataLoaderIterator<Batch> for ClaimingBatches<'_> {
    fn progress(&self) -> Progress {
        let (done, total) = (self.loader.account)(self.batches.progress().items_processed);
        Progress::new(done, total, Some("items".to_owned()))
    }
}

/// Saves every step.
fn every_step(root: &Path, epochs: usize) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(1).with_topk(TopK::All).with_filename("{step}");
    config(root, epochs).with_strategies([StrategyConfig::Last(last)])
}

fn digests(root: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let directory = checkpoints(root).join("last");
    let of = |stem: &String| {
        let checkpoint = Checkpoint::open(directory.join(format!("{stem}.ckpt"))).unwrap();
        let tensors = checkpoint.verify().unwrap().tensors;
        // The history has the progress's lines, and is compared as text elsewhere.
        tensors.into_iter().map(|(name, tensor)| (name, tensor.blake3)).collect()
    };
    stems(&directory).iter().map(|stem| (stem.clone(), of(stem))).collect()
}

fn train(
    root: &Path,
    data: &Arc<dyn DataLoader<Batch>>,
    devices: usize,
    set_up: impl FnOnce(SupervisedTraining<Model>) -> SupervisedTraining<Model>,
) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(every_step(root, 2), &())?.devices((0..devices).map(|_| backend::device()));
    let training = trainer.training(Arc::clone(data), Arc::clone(data));
    let training = training.metrics((LossMetric::new(),)).metric_train_numeric(LearningRateMetric::new());
    trainer.fit(set_up(training), learner(Script::default()))
}

#[test]
fn an_epoch_ends_where_the_iterator_ends() {
    // With batches left over for an epoch's last step, without, and on two devices.
    let runs =
        [(loader(&Script::default()), 1, 4, 6), (shuffling(BATCH), 1, 5, 4), (shuffling(BATCH), 2, 2, 6)];
    for (data, devices, accumulation, steps) in runs {
        let accumulating = |training: SupervisedTraining<Model>| training.grads_accumulation(accumulation);
        let root = in_memory();
        let honest: Arc<dyn DataLoader<Batch>> = Arc::new(Claiming::with(Arc::clone(&data), 80, HONEST));
        train(root.path(), &honest, devices, accumulating).unwrap();
        let expected = digests(root.path());
        assert_eq!(expected.len(), steps, "{devices} {accumulation}");
        for (name, num_items, account) in WRONG {
            let root = in_memory();
            let wrong: Arc<dyn DataLoader<Batch>> =
                Arc::new(Claiming::with(Arc::clone(&data), num_items, account));
            let result = train(root.path(), &wrong, devices, accumulating).unwrap();
            assert_eq!((result.global_step, result.epochs), (steps as u64, 2), "{name}");
            // Of each step one state, once, and the last of an epoch with its validation.
            let found = digests(root.path());
            assert!(found == expected, "{name}: {:?}", found.keys());
        }
    }
}

#[test]
fn in_burns_loop_too_the_rest_of_an_accumulation_is_a_step() {
    let trained = |account: Account, num_items| {
        let root = in_memory();
        let data: Arc<dyn DataLoader<Batch>> =
            Arc::new(Claiming::with(loader(&Script::default()), num_items, account));
        let trainer = Trainer::new(every_step(root.path(), 2), &()).unwrap();
        let training = trainer.training(Arc::clone(&data), data).metrics((LossMetric::new(),));
        let strategy = ExecutionStrategy::single(backend::device().autodiff());
        trainer.fit_with(training.grads_accumulation(4), learner(Script::default()), strategy).unwrap();
        digests(root.path())
    };
    let expected = trained(HONEST, 80);
    for (name, num_items, account) in WRONG {
        assert!(trained(account, num_items) == expected, "{name}");
    }
}

/// A run that is stopped in a batch (counted from 1) and resumed, compared with one that was not stopped.
fn stopped_in(batch: usize, data: &Arc<dyn DataLoader<Batch>>) {
    let (whole, parts) = (in_memory(), in_memory());
    let fit = |config: TrainerConfig, stops_in: Option<usize>| {
        let trainer = Trainer::new(config, &()).unwrap();
        let training = trainer.training(Arc::clone(data), Arc::clone(data)).metrics((LossMetric::new(),));
        let at_step = stops_in.map(|step| (step, stopper(training.interrupter(), false)));
        let learner = learner(Script { at_step, ..Script::default() });
        trainer.fit(training.grads_accumulation(4), learner).unwrap()
    };
    fit(config(whole.path(), 2), None);
    assert!(fit(config(parts.path(), 2), Some(batch)).outcome.is_stopped());
    let resumed = fit(config(parts.path(), 2).with_ckpt_path("auto"), None);
    assert_eq!((resumed.epochs, resumed.global_step), (2, 6));
    compare(&run_dir(whole.path()), &run_dir(parts.path()))
        .unwrap_or_else(|reason| panic!("{batch}: {reason}"));
}

#[test]
fn a_resumed_run_reads_the_rest_of_the_epoch_and_nothing_twice() {
    let accumulating =
        |training: SupervisedTraining<Model>| training.metrics((LossMetric::new(),)).grads_accumulation(4);
    for (name, num_items, account) in WRONG {
        let data = || -> Arc<dyn DataLoader<Batch>> {
            let data = match name {
                // A wrapper around a loader of ours must count right, or not at all.
                "done as the total" | "the largest number" | "nothing at all" => shuffling(BATCH),
                _ => loader(&Script::default()),
            };
            Arc::new(Claiming::with(data, num_items, account))
        };
        in_two_parts_is_as_in_one(&data, &[16], accumulating);
    }
    // The first is the last batch of an epoch, the second the one before it.
    let (_, exact, done) = WRONG[0];
    let (_, none, largest) = WRONG[3];
    for (batch, num_items, account) in [(10, 80, HONEST), (10, exact, done), (9, none, largest)] {
        for data in [shuffling(BATCH), loader(&Script::default())] {
            let data: Arc<dyn DataLoader<Batch>> = Arc::new(Claiming::with(data, num_items, account));
            stopped_in(batch, &data);
        }
    }
}

/// What burn tells a renderer or a progress logger.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<ShownSplit>>>);

#[derive(Debug)]
struct ShownSplit {
    split: String,
    total: usize,
    done: Vec<usize>,
}

impl TrainingProgressLogger for Shown {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

    fn start_split(&mut self, split: &str, items: usize) {
        self.0.lock().push(ShownSplit { split: split.to_owned(), total: items, done: Vec::new() });
    }

    fn update_split(&mut self, done: usize) {
        self.0.lock().last_mut().unwrap().done.push(done);
    }

    fn update_epoch(&mut self, _: usize) {}

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

#[test]
fn burn_is_given_numbers_that_its_dashboard_can_subtract_and_multiply() {
    for (name, num_items, account) in WRONG {
        let root = in_memory();
        let shown = Shown::default();
        let data: Arc<dyn DataLoader<Batch>> =
            Arc::new(Claiming::with(loader(&Script::default()), num_items, account));
        train(root.path(), &data, 1, |training| training.with_progress_logger(shown.clone())).unwrap();
        let shown = shown.0.lock();
        for split in ["train", "valid"] {
            let epochs: Vec<_> = shown.iter().filter(|shown| shown.split == split).collect();
            let [first, second] = epochs[..] else { panic!("{name}: {epochs:?}") };
            let never_falls = first.done.is_sorted() && second.total >= first.total;
            // The second epoch begins at or after the end of the first, in the sums of the dashboard.
            assert!(never_falls && second.total >= *first.done.last().unwrap(), "{name}: {epochs:?}");
            assert!(second.total.checked_mul(1000).is_some(), "{name}: {epochs:?}");
        }
    }
}

#[test]
fn a_save_that_is_due_is_not_lost_when_the_next_batch_fails() {
    for panics in [false, true] {
        let root = in_memory();
        let script = Script { loader_fails_at: (!panics).then_some(4), ..Script::default() };
        let mut data = Claiming::with(loader(&script), 80, HONEST);
        if panics {
            data.on_read = Arc::new(|read| assert!(read != 4, "the loader was told to panic"));
        }
        let data: Arc<dyn DataLoader<Batch>> = Arc::new(data);
        // No strategy saves on exceptions.
        let error = train(root.path(), &data, 1, |training| training).map(|_| ()).unwrap_err();
        assert_eq!(matches!(error, Error::Panicked { .. }), panics, "{error}");
        assert_eq!(stems(&checkpoints(root.path()).join("last")), ["1", "2", "3"]);
    }
}

#[test]
fn no_step_waits_for_the_batch_after_it() {
    let root = in_memory();
    let log: Arc<Mutex<Vec<&str>>> = Arc::default();
    let (reads, computes) = (Arc::clone(&log), Arc::clone(&log));
    let mut data = Claiming::with(loader(&Script { batches: Some(2), ..Script::default() }), 16, HONEST);
    data.on_read = Arc::new(move |_| reads.lock().push("read"));
    let trainer = Trainer::new(config(root.path(), 1), &()).unwrap();
    let training = trainer.training(Arc::new(data), loader(&Script::default())).metrics((LossMetric::new(),));
    let compute = OnStep(Arc::new(move || computes.lock().push("compute")));
    let learner = learner(Script { at_step: Some((1, compute)), ..Script::default() });
    trainer.fit(training, learner).unwrap();
    assert_eq!(*log.lock(), ["read", "compute", "read", "read"]);
}
