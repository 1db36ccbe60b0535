//! A run that deletes checkpoints while they are read: the watch never fails for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::nn::LinearConfig;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::plumbing::{Limits, remove_checkpoint};
use burn_ckpt::watch::{Watch, WatchEvent};
use burn_ckpt::{ErrorKind, Section};
use system_tests::models::small::{Model, Script};
use system_tests::run_files::{checkpoints, in_memory, run_dir};
use system_tests::saves_by_hand::BestWriter;
use system_tests::{backend, train_and_keep_all};

const REPLACEMENTS: u64 = 200;

/// Replaces a run's best checkpoint again and again.
fn replace(run: &Path, limits: Limits) {
    let writer = BestWriter::start(run, limits);
    for step in 1..=REPLACEMENTS {
        let model = LinearConfig::new(4, 2).init(&backend::device());
        writer.save(step, move || Section::from_module(&model), |_| {});
    }
    let end = writer.finish();
    assert!(end.reports.iter().all(|report| report.outcome.is_ok()), "{:?}", end.reports);
}

/// Watches while the best checkpoint is replaced. Returns how many came.
fn watched(name: Option<&str>, limits: Limits) -> usize {
    let run = in_memory();
    let mut watch = Watch::new(run.path());
    if let Some(name) = name {
        watch = watch.name(name);
    }
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| replace(run.path(), limits));
        let (mut newest, mut count) = (0, 0);
        loop {
            let is_written = writing.is_finished();
            match watch.poll().unwrap() {
                WatchEvent::New(new) => {
                    let step = new.metadata.global_step;
                    assert!(step > newest, "{step} after {newest}");
                    // It is held open, whatever the run does.
                    new.checkpoint.load_into(LinearConfig::new(4, 2).init(&backend::device())).unwrap();
                    (newest, count) = (step, count + 1);
                }
                _ if is_written => break,
                _ => {}
            }
        }
        assert_eq!(newest, REPLACEMENTS);
        count
    })
}

#[test]
fn each_checkpoint_that_comes_can_be_loaded_while_the_run_replaces_it() {
    let several = Limits { tensors: 1, ..Limits::READER };
    for (name, limits) in
        [(Some("best"), Limits::READER), (None, Limits::READER), (Some("best"), several), (None, several)]
    {
        let count = watched(name, limits);
        println!("{name:?}: {count} of {REPLACEMENTS} were read");
        assert!(count > 1);
    }
}

#[test]
fn a_checkpoint_that_is_deleted_when_it_has_come_can_be_loaded() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0], 1).unwrap();
    let WatchEvent::New(new) = Watch::new(run_dir(root.path())).poll().unwrap() else {
        panic!("there is one")
    };
    std::fs::remove_dir_all(root.path()).unwrap();
    new.checkpoint.load_into(Model::new(Script::default(), &backend::device())).unwrap();
}

/// Deletes checkpoints when they are about to be opened.
struct Deletes(Vec<PathBuf>);

impl Observer for Deletes {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        // The metadata of a new file was read by then: this is the second time.
        if let Operation::Open(path, _) = operation
            && self.0.iter().any(|doomed| doomed == path)
            && path.with_extension("seen").exists()
        {
            remove_checkpoint(path).unwrap();
        }
        Verdict::Proceed
    }

    fn after(&self, operation: &Operation<'_>) {
        if let Operation::Open(path, _) = operation
            && self.0.iter().any(|doomed| doomed == path)
        {
            std::fs::write(path.with_extension("seen"), "").unwrap();
        }
    }
}

#[test]
fn one_that_is_deleted_before_it_could_be_read_is_left_out_only_if_a_newer_one_follows() {
    for (doomed, expected, is_error) in [(&[10][..], &[20, 30][..], false), (&[10, 30], &[20], true)] {
        let root = tempfile::tempdir().unwrap();
        train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
        // The states are in `last` alone.
        std::fs::remove_dir_all(checkpoints(root.path()).join("best")).unwrap();
        let path = |step: u64| {
            checkpoints(root.path()).join(format!("last/epoch={}-step={step}.ckpt", step / 10 - 1))
        };
        let doomed = doomed.iter().map(|step| path(*step)).collect();
        let observation = observe(root.path(), Arc::new(Deletes(doomed)));
        let (mut steps, mut errors) = (Vec::new(), Vec::new());
        let mut watch = Watch::new(run_dir(root.path()));
        for _ in 0..20 {
            match watch.poll() {
                Ok(WatchEvent::New(new)) => steps.push(new.metadata.global_step),
                Ok(WatchEvent::Ended(_)) => break,
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        drop(observation);
        assert_eq!(steps, expected);
        let kinds: Vec<ErrorKind> = errors.iter().map(burn_ckpt::Error::kind).collect();
        assert_eq!(kinds, if is_error { vec![ErrorKind::NotFound] } else { vec![] }, "{errors:?}");
        assert!(errors.iter().all(|error| error.to_string().contains("no newer one followed")), "{errors:?}");
    }
}
