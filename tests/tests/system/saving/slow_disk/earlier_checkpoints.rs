//! The best checkpoint of an earlier start, which a slow disk gives piece by piece: whether a new state is
//! kept depends on it, and only a verified one counts.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use burn_ckpt::Section;
use burn_ckpt::plumbing::storage::observer::{Observation, Observer, Operation, Verdict, observe};
use burn_ckpt::plumbing::{
    CheckpointWriter, Ledger, Reservation, RunDescription, SaveRequest, Submitted, WriterEnd,
};
use burn_ckpt::retention::{KeepRule, MetricMode, SavedCheckpoint, TopK};
use burn_trainer::config::WhenBusy;
use jiff::Timestamp;
use system_tests::programs::commands::sha256sum;
use system_tests::run_files::stems;
use system_tests::saves_by_hand::save_request;

/// A disk on which each read of a file waits for a permit, until there are no more to come.
struct SlowReads {
    path: PathBuf,
    permits: Mutex<Receiver<()>>,
}

impl Observer for SlowReads {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if matches!(operation, Operation::Read(path, _) if *path == self.path) {
            let _ = self.permits.lock().unwrap().recv();
        }
        Verdict::Proceed
    }
}

/// A run with the strategies `best` (lower is better, one is kept) and `last` (all are kept). It has a best
/// checkpoint with the score 1, whose bytes are not verified.
struct Resumed {
    writer: CheckpointWriter,
    directory: PathBuf,
    /// Each lets the disk read a MiB of the best checkpoint. It reads freely once this is dropped.
    permit: Sender<()>,
    _slow: Observation,
}

impl Resumed {
    fn start(directory: &Path, earlier_mib: usize) -> Self {
        let best = directory.join("best");
        std::fs::create_dir(&best).unwrap();
        let earlier = best.join("earlier.ckpt");
        std::fs::write(&earlier, vec![7; earlier_mib << 20]).unwrap();
        let digest = format!("sha256:{}", sha256sum(&earlier).unwrap());
        let mut ledger = Ledger::default();
        let lower = KeepRule::Best(MetricMode::Min, TopK::Count(1));
        ledger.register("best", lower, None, [SavedCheckpoint::new(earlier.clone(), 0, 1.0)]);
        ledger.register("last", KeepRule::Newest(TopK::All), None, []);
        ledger.verify_later(&earlier, vec![(earlier.clone(), digest)]);
        let (permit, permits) = mpsc::channel();
        let slow = SlowReads { path: earlier, permits: Mutex::new(permits) };
        let _slow = observe(directory, Arc::new(slow));
        let run = RunDescription::new("r1", Timestamp::now());
        let writer = CheckpointWriter::start(run, ledger, 1).unwrap();
        Self { writer, directory: directory.to_path_buf(), permit, _slow }
    }

    /// The state of a step that a strategy wants.
    fn state(&self, step: u64, strategy: &str, score: f64) -> SaveRequest {
        let wish = Reservation {
            strategy: strategy.to_owned(),
            directory: self.directory.join(strategy),
            stem: step.to_string(),
            step,
            score,
        };
        let places = self.writer.ledger().lock().reserve(&[wish]);
        let places = places.into_iter().map(|path| (path, "test".to_owned())).collect();
        save_request(step, places, Section::default)
    }

    /// Submits the state that the run ends with, which is not better than the best.
    fn submit_last(&self) {
        let last = SaveRequest { urgent: true, ..self.state(1, "best", 1.5) };
        assert_eq!(self.writer.submit(vec![last], WhenBusy::Wait).unwrap(), Submitted::Accepted);
    }

    fn is_unverified(&self) -> bool {
        self.writer.ledger().lock().unverified().count() == 1
    }
}

#[test]
fn a_loop_that_saves_on_does_not_wait_for_the_verification() {
    let directory = tempfile::tempdir().unwrap();
    // There are more pieces than permits.
    let run = Resumed::start(directory.path(), 96);
    let mut permits_left = 60;
    let mut submit = |step: u64, strategy: &str, score: f64| {
        let (start, mut asked) = (Instant::now(), 0);
        // Asked each five milliseconds: the permits last for six seconds.
        let waits = || {
            asked += 1;
            if asked % 20 == 1 && permits_left > 0 {
                permits_left -= 1;
                run.permit.send(()).unwrap();
            }
            start.elapsed() < Duration::from_mins(1)
        };
        run.writer.submit_while(vec![run.state(step, strategy, score)], WhenBusy::Wait, waits).unwrap()
    };
    // Whether the first state is kept depends on the earlier one.
    assert_eq!(submit(1, "best", 1.5), Submitted::Accepted);
    // For one of these there is no room before the first one is written.
    for step in 2..5 {
        assert_eq!(submit(step, "last", f64::NAN), Submitted::Accepted);
    }
    assert!(run.is_unverified(), "it was not waited for");
    let best = directory.path().join("best");
    assert!(best.join("1.ckpt").exists(), "both, until it is verified");
    drop(run.permit);
    assert!(run.writer.finish(None).is_complete);
    assert_eq!(stems(&best), ["earlier"], "the same as if it had been verified first");
    assert_eq!(stems(&directory.path().join("last")), ["2", "3", "4"]);
}

#[test]
fn the_last_state_of_a_run_says_the_same_of_its_strategies_as_if_all_had_been_verified_first() {
    let directory = tempfile::tempdir().unwrap();
    let run = Resumed::start(directory.path(), 3);
    run.submit_last();
    assert!(run.is_unverified());
    drop(run.permit);
    let WriterEnd { reports, .. } = run.writer.finish(None);
    // It was not written: no checkpoint names the strategy `best` that has lost it since.
    let [last] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(last.superseded, [directory.path().join("best/1.ckpt")], "{last:?}");
    assert_eq!(stems(&directory.path().join("best")), ["earlier"]);
}

#[test]
fn the_last_state_of_a_run_is_durable_before_much_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let run = Resumed::start(directory.path(), 200);
    run.submit_last();
    let (last, start) = (directory.path().join("best/1.ckpt"), Instant::now());
    while !last.exists() {
        assert!(start.elapsed() < Duration::from_mins(1), "it was waited for");
        run.permit.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(run.is_unverified());
    drop(run.permit);
    assert!(run.writer.finish(None).is_complete);
    assert_eq!(stems(&directory.path().join("best")), ["earlier"]);
}
