//! A checkpoint that is complete when it is opened, and damaged when its state is restored: a disk answers
//! otherwise the second time. `auto` passes it over as one that was damaged before. What does not fit the
//! program is an error.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::optim::SgdConfig;
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, TrainingStrategy};
use burn_ckpt::chain;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::{Checkpoint, ErrorKind};
use burn_trainer::callbacks::Ema;
use burn_trainer::strategy::{Last, StrategyConfig, TopK};
use burn_trainer::{Error, FitResult, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{Model, Script, learner, loader, train_by};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, copy_tree, described_state, in_memory};
use system_tests::storage_faults::errors::EIO;
use system_tests::storage_faults::{FailingCall, FailingCalls};
use system_tests::{config, train, train_scripted};

const OLDER: &str = "epoch=0-step=10.ckpt";
const NEWEST: &str = "epoch=1-step=20.ckpt";

/// What becomes of the newest checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// It cannot be read any more.
    Unreadable,
    /// All of its tensors have other bytes.
    OtherBytes,
}

/// A disk on which the newest checkpoint is damaged from one of its reads on.
struct Late {
    damage: Damage,
    from: usize,
    reads: AtomicUsize,
    is_opened: AtomicBool,
    /// How many reads there were until the run was opened.
    opened_after: AtomicUsize,
}

impl Late {
    fn new(damage: Damage, from: usize) -> Arc<Self> {
        let (reads, opened_after) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { damage, from, reads, is_opened: AtomicBool::new(false), opened_after })
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Observer for Late {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let Operation::Read(path, _) = operation else { return Verdict::Proceed };
        if path.file_name().is_none_or(|name| name != NEWEST) {
            return Verdict::Proceed;
        }
        let number = self.reads.fetch_add(1, Ordering::Relaxed);
        if !self.is_opened.load(Ordering::Relaxed) {
            self.opened_after.store(number + 1, Ordering::Relaxed);
        }
        match self.damage {
            Damage::Unreadable if number >= self.from => Verdict::Fail(io::Error::from_raw_os_error(EIO)),
            Damage::OtherBytes if number == self.from => {
                change_tensors(path);
                Verdict::Proceed
            }
            _ => Verdict::Proceed,
        }
    }
}

/// Flips a bit of each byte between the header and the metadata at the end.
fn change_tensors(path: &Path) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let header = u32::from_le_bytes(bytes[6..10].try_into().unwrap()) as usize;
    let begin = (10 + header).next_multiple_of(256);
    let end = bytes.len() - 48;
    let metadata = u64::from_le_bytes(bytes[end + 8..end + 16].try_into().unwrap()) as usize;
    let end = end - metadata.next_multiple_of(256);
    bytes[begin..end].iter_mut().for_each(|byte| *byte ^= 1);
    file.write_all_at(&bytes[begin..end], begin as u64).unwrap();
}

fn last(root: &Path, epochs: usize) -> TrainerConfig {
    let last = StrategyConfig::Last(Last::new().with_topk(TopK::All));
    config(root, epochs).with_strategies([last]).with_ckpt_path("auto")
}

/// The last epoch in the trainer's own loop, with a callback that has tensors.
fn own_loop(root: &Path, late: &Late) -> Result<FitResult<Model>, Error> {
    train_by(last(root, 3), Script::default(), |trainer| {
        late.is_opened.store(true, Ordering::Relaxed);
        trainer.callback(Ema::new(0.8))
    })
}

/// The same in a loop of burn's, which loads the learner's state itself.
fn burns_loop(root: &Path, late: &Late) -> Result<FitResult<Model>, Error> {
    let trainer = Trainer::new(last(root, 3), &Script::default().hparams())?;
    late.is_opened.store(true, Ordering::Relaxed);
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let single = ExecutionStrategy::single(backend::device());
    let strategy: TrainingStrategy<Model> = single.into();
    trainer.fit_with(training.metrics((LossMetric::new(),)), learner(Script::default()), strategy)
}

/// Checks each read of the newest checkpoint that a resume does after it has found it whole.
fn passed_over(before: &Path, resume: fn(&Path, &Late) -> Result<FitResult<Model>, Error>) {
    let whole = in_memory();
    copy_tree(before, whole.path());
    let noted = Late::new(Damage::Unreadable, usize::MAX);
    let observation = observe(whole.path(), noted.clone());
    resume(whole.path(), &noted).unwrap();
    drop(observation);
    let opened = noted.opened_after.load(Ordering::Relaxed);
    let newest = Checkpoint::open(checkpoints(before).join("last").join(NEWEST)).unwrap();
    let tensors = |name| newest.section(name).unwrap().tensors.len();
    let restored = tensors("model") + tensors("optimizer");
    assert!(opened > restored && noted.reads() >= opened + restored, "{opened} of {}", noted.reads());
    let state = |root: &Path| described_state(&checkpoints(root).join("last.ckpt"));
    for damage in [Damage::Unreadable, Damage::OtherBytes] {
        let mut passed_over = Vec::new();
        for from in opened..noted.reads() {
            let root = in_memory();
            copy_tree(before, root.path());
            let late = Late::new(damage, from);
            let observation = observe(root.path(), late.clone());
            let result = resume(root.path(), &late);
            drop(observation);
            let result = result.unwrap_or_else(|error| panic!("{damage:?} {from}: {}", chain(&error)));
            assert_eq!(state(root.path()), state(whole.path()), "{damage:?} {from}");
            let from_where = result.resumed_from.unwrap();
            if from_where.file_name().unwrap() == OLDER {
                passed_over.push(from);
            } else {
                assert_eq!(from_where.file_name().unwrap(), NEWEST, "{damage:?} {from}");
            }
            assert!(checkpoints(root.path()).join("last").join(NEWEST).exists(), "it stays");
        }
        let all: Vec<usize> = (opened..opened + passed_over.len()).collect();
        assert_eq!(passed_over, all, "{damage:?}");
        assert!(passed_over.len() >= restored, "{damage:?}: {passed_over:?} of {restored}");
    }
}

#[test]
fn auto_passes_over_a_checkpoint_whose_state_cannot_be_read_when_it_is_restored() {
    let root = in_memory();
    train_by(last(root.path(), 2), Script::default(), |trainer| trainer.callback(Ema::new(0.8))).unwrap();
    passed_over(root.path(), own_loop);
}

#[test]
fn the_same_in_a_loop_of_burns() {
    let root = in_memory();
    train(last(root.path(), 2)).unwrap();
    passed_over(root.path(), burns_loop);
}

#[test]
fn with_no_older_checkpoint_that_can_be_read_no_run_starts_from_the_beginning() {
    let root = in_memory();
    train(last(root.path(), 2)).unwrap();
    fs::remove_file(checkpoints(root.path()).join("last").join(OLDER)).unwrap();
    let error = late_error(root.path(), last(root.path(), 3));
    let said = error.to_string();
    assert!(said.contains("start again when they can be read") && !said.contains("overwrite"), "{said}");
    let Error::NothingToResume { skipped, .. } = error else { panic!("{error:?}") };
    let [newest] = &skipped[..] else { panic!("{skipped:?}") };
    assert_eq!(newest.kind, ErrorKind::Io);
    let reason = &newest.reason;
    assert!(reason.contains(NEWEST) && reason.contains("cannot be read"), "{reason}");
}

#[test]
fn a_checkpoint_that_is_named_is_not_passed_over() {
    let root = in_memory();
    train(last(root.path(), 2)).unwrap();
    let error = late_error(root.path(), last(root.path(), 3).with_ckpt_path("last"));
    let Error::Checkpoint(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(chain(&error).contains("Input/output error"), "{}", chain(&error));
}

/// The error of a resume whose newest checkpoint cannot be read after the run was opened.
fn late_error(root: &Path, config: TrainerConfig) -> Error {
    let late = Late::new(Damage::Unreadable, usize::MAX);
    let noted = observe(root, late.clone());
    drop(Trainer::<Model>::new(config.clone(), &Script::default().hparams()).unwrap());
    drop(noted);
    let late = Late::new(Damage::Unreadable, late.reads());
    let _observation = observe(root, late);
    train(config).map(drop).unwrap_err()
}

#[test]
fn what_does_not_fit_the_program_is_an_error_and_nothing_older_is_trained() {
    let root = in_memory();
    train(last(root.path(), 2)).unwrap();
    let before = described_state(&checkpoints(root.path()).join("last.ckpt"));
    let wider = Script { hidden: 7, ..Script::default() };
    let error = train_scripted(last(root.path(), 3), wider).map(drop).unwrap_err();
    let Error::Checkpoint(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::Mismatch, "another model");

    let trainer = Trainer::new(last(root.path(), 3), &Script::default().hparams()).unwrap();
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    let model = Model::new(Script::default(), &backend::device().autodiff());
    let sgd = Learner::new(model, SgdConfig::new().init(), 1e-2);
    let error = trainer.fit(training.metrics((LossMetric::new(),)), sgd).map(drop).unwrap_err();
    let Error::Unusable { path, reason } = error else { panic!("{error:?}") };
    assert!(path.ends_with(NEWEST) && reason.contains("another kind of optimizer"), "{reason}");
    assert_eq!(described_state(&checkpoints(root.path()).join("last.ckpt")), before);
}

#[test]
fn a_start_says_which_checkpoint_it_resumes_then() {
    let calls = FailingCalls::compile();
    let prepared = in_memory();
    let start = |root: &Path, rest: &str| warmup(root, &format!("--run-id r1 --topk 2 {rest}"));
    Running::start(start(prepared.path(), "--epochs 2")).end_well();
    let resumed = |root: &Path| start(root, "--epochs 3 --ckpt-path auto");
    let newest = |root: &Path| -> PathBuf { checkpoints(root).join("last/epoch=1-step=60.ckpt") };
    let whole = in_memory();
    copy_tree(prepared.path(), whole.path());
    let reads = calls.noted(resumed(whole.path()), &newest(whole.path()));
    let reads = reads.iter().filter(|line| line.starts_with("read ")).count();
    let is_late = |at: usize| {
        let root = in_memory();
        copy_tree(prepared.path(), root.path());
        let mut command = resumed(root.path());
        calls.apply(&mut command, &newest(root.path()), FailingCall { call: "read", at, errno: EIO });
        let ended = Running::start(command).end_well();
        let line = |begin: &str, path: &str| {
            ended.stderr.lines().position(|line| line.starts_with(begin) && line.contains(path))
        };
        let lines = [
            line("resuming r1 from", "last/epoch=1-step=60.ckpt"),
            line("warning: skipped ", "last/epoch=1-step=60.ckpt"),
            // The other name of that state: a file as good as any other.
            line("resuming r1 from", "best/epoch=1-step=60.ckpt"),
        ];
        lines.iter().all(Option::is_some) && lines.is_sorted()
    };
    assert!((1..=reads).rev().any(is_late), "none of {reads} reads");
}
