//! A resume sends what was logged before: however long that takes, earlier files stay whole, the state of a
//! tracker is written seldom, and the number of lines that did not arrive is said.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::TrainerConfig;
use burn_trainer::trackers::{StartAt, TrackerCallback};
use parking_lot::Mutex;
use system_tests::config;
use system_tests::models::small::{Script, train_by};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::run_dir;

use super::{Recorder, Told, log, patient, saving_every_4_steps};

/// More batches than a tracker is given at once, many times over.
const MANY: usize = 10_000;

/// Counts how often the state of a tracker is written.
#[derive(Default)]
struct StateWrites(AtomicUsize);

impl Observer for StateWrites {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if let Operation::Rename { path, .. } = operation
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tracker-"))
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Proceed
    }
}

fn train_long(config: TrainerConfig) {
    let script = Script { batches: Some(MANY), ..Script::default() };
    train_by(config, script, |trainer| trainer).unwrap();
}

#[test]
fn the_state_of_a_tracker_of_files_is_written_once_and_has_no_values() {
    let root = tempfile::tempdir().unwrap();
    let writes = Arc::new(StateWrites::default());
    let _observation = observe(root.path(), writes.clone());
    let config = config(root.path(), 3).with_trackers(["csv"]).with_trackers_wait_seconds(600.0);
    train_by(config, Script::default(), |trainer| trainer).unwrap();
    assert_eq!(writes.0.load(Ordering::Relaxed), 1);
    let state = fs::read_to_string(run_dir(root.path()).join("tracker-csv.json")).unwrap();
    assert!(state.contains("\"batch_values\":[]"), "{state}");
}

#[test]
fn what_was_sent_is_written_down_once_a_second_while_there_is_more_to_send() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1);
    train_long(config.clone());
    let told = Arc::new(Mutex::new(Told::default()));
    let writes = Arc::new(StateWrites::default());
    let _observation = observe(root.path(), writes.clone());
    let begun = Instant::now();
    train_by(config.with_ckpt_path("auto"), Script::default(), |trainer| {
        trainer.callback(patient(Recorder::of(&told)))
    })
    .unwrap();
    let seconds = begun.elapsed().as_secs() as usize;
    assert_eq!(told.lock().lines, log(root.path()));
    // At the start, at its end twice, and before the end.
    let writes = writes.0.load(Ordering::Relaxed);
    assert!(writes <= 4 + seconds, "{writes} in {seconds} s");
}

/// A disk on which there is no room for a table and for events.
struct FullForFiles;

impl Observer for FullForFiles {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_of_tracker = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ["metrics.csv", "events."].iter().any(|part| name.contains(part))
        };
        match operation {
            Operation::Write { path, .. } if is_of_tracker(path) => {
                Verdict::Fail(std::io::ErrorKind::StorageFull.into())
            }
            _ => Verdict::Proceed,
        }
    }
}

/// The names in a directory that the files of trackers have, also unfinished ones.
fn files_of_trackers(run: &Path) -> Vec<String> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> =
        names.filter(|name| name.contains("metrics.csv") || name.contains("events.")).collect();
    files.sort();
    files
}

/// Has the directory, in the process that the test starts.
const FULL: &str = "TEST_FILES_ON_A_FULL_DISK_IN";

#[test]
fn files_that_cannot_be_written_again_stay_as_they_were_and_their_lines_are_counted() {
    let Some(root) = std::env::var_os(FULL) else {
        let root = tempfile::tempdir().unwrap();
        let test = "files_that_cannot_be_written_again_stay_as_they_were_and_their_lines_are_counted";
        let said = said_alone(module_path!(), test, FULL, root.path());
        // Ten batches, a validation and an epoch, and again for the second epoch.
        for tracker in ["csv", "tensorboard"] {
            assert!(
                said.contains(&format!("the tracker {tracker} did not get 24 lines of values")),
                "{said}"
            );
        }
        return;
    };
    let root = Path::new(&root);
    let tracked = |epochs: usize, wait: f64| {
        let config = saving_every_4_steps(root, epochs).with_trackers(["csv", "tensorboard"]);
        config.with_trackers_wait_seconds(wait).with_ckpt_path("auto")
    };
    let run = run_dir(root);
    let table = || fs::read_to_string(run.join("metrics.csv")).unwrap();
    train_by(tracked(1, 600.0), Script::default(), |trainer| trainer).unwrap();
    let whole = table();
    assert_eq!(whole, stdout(&burn_ckpt(&[&"csv", &run])));
    let files = files_of_trackers(&run);
    let observation = observe(root, Arc::new(FullForFiles));
    train_by(tracked(2, 2.0), Script::default(), |trainer| trainer).unwrap();
    drop(observation);
    assert_eq!((table(), files_of_trackers(&run)), (whole, files.clone()));
    // As a kill leaves them.
    for name in [".metrics.csv.0-1f.staging", ".events.burn-trainer.0-1f.staging"] {
        fs::write(run.join(name), "half").unwrap();
    }
    train_by(tracked(3, 600.0), Script::default(), |trainer| trainer).unwrap();
    assert_eq!(table(), stdout(&burn_ckpt(&[&"csv", &run])));
    let left = files_of_trackers(&run);
    assert!(left.len() == 2 && left[0] > files[0] && left[1] == "metrics.csv", "{files:?} {left:?}");
}

/// Has the directory, in the process that the test starts.
const SLOW: &str = "TEST_SLOW_FILE_IN";

#[test]
fn a_tracker_of_files_that_is_too_late_is_not_called_again_and_its_lines_are_counted() {
    let Some(root) = std::env::var_os(SLOW) else {
        let root = tempfile::tempdir().unwrap();
        let test = "a_tracker_of_files_that_is_too_late_is_not_called_again_and_its_lines_are_counted";
        let said = said_alone(module_path!(), test, SLOW, root.path());
        // A validation and an epoch beside the batches.
        let left = MANY + 2 - 1_000;
        assert!(said.contains(&format!("the tracker recorder did not get {left} lines of values")), "{said}");
        return;
    };
    let root = Path::new(&root);
    train_long(config(root, 1));
    let told = Arc::new(Mutex::new(Told::default()));
    let (held, waits) = channel::<()>();
    let mut calls = 0;
    let slow = Recorder::of(&told).failing(move || {
        calls += 1;
        if calls == 2 {
            // Until the run has ended.
            let _ = waits.recv();
        }
        None
    });
    let slow = Recorder { start_at: Some(StartAt::FirstLineOfFile), ..slow };
    let callback = TrackerCallback::new(slow).with_wait_at_end(Duration::from_secs(5));
    let config = config(root, 1).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(callback)).unwrap();
    assert_eq!(told.lock().lines.len(), 1_000);
    drop(held);
    // Its thread ends, and with it the tracker.
    let begun = Instant::now();
    while Arc::strong_count(&told) > 1 {
        assert!(begun.elapsed() < Duration::from_mins(2), "the thread does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(told.lock().lines.len(), 2_000, "the call that was in work, and no other");
    assert!(told.lock().ends.is_empty());
}
