//! A run that deletes checkpoints while they are read: the watch never fails for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::nn::LinearConfig;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::plumbing::{CheckpointWriter, Ledger, Limits, Reservation, RunDescription, remove_checkpoint};
use burn_ckpt::retention::{KeepRule, MetricMode, TopK};
use burn_ckpt::{ErrorKind, Section, Watch, WatchEvent};
use burn_trainer::config::WhenBusy;
use jiff::Timestamp;
use system_tests::models::small::{Model, Script};
use system_tests::run_files::{checkpoints, in_memory, run_dir};
use system_tests::saves_by_hand::save_request;
use system_tests::{backend, train_and_keep_all};

const REPLACEMENTS: u64 = 200;

/// Replaces a run's best checkpoint again and again.
fn replace(run: &Path, limits: Limits) {
    let checkpoint_dir = run.join("checkpoint");
    let mut ledger = Ledger::default();
    let link = Some(checkpoint_dir.join("best_val_loss.ckpt"));
    ledger.register("best", KeepRule::Best(MetricMode::Max, TopK::Count(1)), link, []);
    let description = RunDescription { limits, ..RunDescription::new("r1", Timestamp::now()) };
    let writer = CheckpointWriter::start(description, ledger, 1).unwrap();
    for step in 1..=REPLACEMENTS {
        let reservation = Reservation {
            strategy: "best".to_owned(),
            directory: checkpoint_dir.join("best"),
            stem: format!("step={step}"),
            step,
            score: step as f64,
        };
        let path = writer.ledger().lock().reserve(&[reservation]).remove(0);
        let model = LinearConfig::new(4, 2).init(&backend::device());
        let places = vec![(path, "best".to_owned())];
        let save = save_request(step, places, move || Section::from_module(&model));
        writer.submit(vec![save], WhenBusy::Wait).unwrap();
    }
    let end = writer.finish(None);
    assert!(end.reports.iter().all(|report| report.outcome.is_ok()), "{:?}", end.reports);
}

/// Watches while the best checkpoint is replaced. Returns how many came.
fn watched(name: Option<&str>, limits: Limits) -> usize {
    let run = in_memory();
    let mut watch = Watch::new(run.path());
    if let Some(name) = name {
        watch = watch.with_name(name);
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
