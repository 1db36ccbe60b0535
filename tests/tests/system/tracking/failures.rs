//! What fails in a tracker is tried again, and never ends training.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::trackers::{TrackerCallback, TrackerError};
use burn_trainer::{Error, RunOutcome};
use parking_lot::Mutex;
use system_tests::models::small::{OnStep, Script, train_by};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::run_dir;
use system_tests::{config, train};

use super::{Recorder, Told, log, patient, saving_every_4_steps, without_times};

#[test]
fn a_call_that_fails_is_repeated_with_the_same_lines() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let mut failures = 2;
    let recorder = Recorder::of(&told).failing(move || {
        failures -= i32::from(failures > 0);
        (failures > 0).then(|| "the connection was reset".into())
    });
    let callback = patient(recorder);
    train_by(config(root.path(), 2), Script::default(), |trainer| trainer.callback(callback)).unwrap();
    let told = told.lock();
    assert_eq!(told.lines, log(root.path()));
    assert_eq!(told.ends.len(), 1);
}

/// A disk on which the files of trackers find no room, while it is full.
#[derive(Default)]
struct FullForTrackers(AtomicBool);

impl Observer for FullForTrackers {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let is_of_tracker = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ["metrics.csv", "events.out.", "tracker-"].iter().any(|part| name.contains(part))
        };
        match operation {
            Operation::Write { path, bytes, .. } if self.0.load(Ordering::Relaxed) && is_of_tracker(path) => {
                Verdict::Part(bytes.len() / 2, full())
            }
            _ => Verdict::Proceed,
        }
    }
}

/// Has the directory, in the process that the test starts.
const FULL: &str = "TEST_TRACKERS_ON_A_FULL_DISK_IN";

#[test]
fn on_a_full_disk_training_continues_and_a_resume_completes_the_files_of_trackers() {
    let Some(root) = std::env::var_os(FULL) else {
        let root = tempfile::tempdir().unwrap();
        let test = "on_a_full_disk_training_continues_and_a_resume_completes_the_files_of_trackers";
        let said = said_alone(module_path!(), test, FULL, root.path());
        // One for each, however often it is tried again.
        for tracker in ["csv", "tensorboard"] {
            let warnings =
                said.lines().filter(|line| line.starts_with(&format!("warning: the tracker {tracker}: ")));
            let warnings: Vec<&str> = warnings.collect();
            assert!(warnings.len() == 1 && warnings[0].contains("values wait until it works"), "{said}");
        }
        return;
    };
    let root = Path::new(&root);
    let disk = Arc::new(FullForTrackers::default());
    let _observation = observe(root, disk.clone());
    let filled = Arc::clone(&disk);
    let action = OnStep(Arc::new(move || filled.0.store(true, Ordering::Relaxed)));
    let script = Script { at_step: Some((15, action)), ..Script::default() };
    let config = config(root, 2).with_trackers(["csv", "tensorboard"]);
    let result = train_by(config.clone().with_trackers_wait_seconds(0.5), script, |trainer| trainer).unwrap();
    assert_eq!((result.global_step, result.failed_saves.len()), (20, 0));
    let run = run_dir(root);
    assert_eq!(log(root).iter().filter(|line| line.batch.is_some()).count(), 20);
    assert_ne!(fs::read_to_string(run.join("metrics.csv")).unwrap(), stdout(&burn_ckpt(&[&"csv", &run])));
    disk.0.store(false, Ordering::Relaxed);
    let config = config.with_max_epochs(3).with_ckpt_path("auto").with_trackers_wait_seconds(120.0);
    train_by(config, Script::default(), |trainer| trainer).unwrap();
    assert_eq!(fs::read_to_string(run.join("metrics.csv")).unwrap(), stdout(&burn_ckpt(&[&"csv", &run])));
    let names = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name());
    let events = names.filter(|name| name.to_string_lossy().starts_with("events.out.")).count();
    assert_eq!(events, 1);
}

#[test]
fn what_a_dead_server_has_missed_is_sent_when_the_run_resumes() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let dead = Recorder::of(&told).failing(|| Some("connection refused".into()));
    let callback = TrackerCallback::new(dead).with_wait_at_end(Duration::ZERO);
    let config = saving_every_4_steps(root.path(), 1);
    train_by(config.clone(), Script::default(), |trainer| trainer.callback(callback)).unwrap();
    assert!(told.lock().lines.is_empty() && told.lock().ends.is_empty());
    let config = config.with_max_epochs(2).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert_eq!(without_times(&told.lock().lines), without_times(&log(root.path())));
}

#[test]
fn lines_that_a_tracker_rejects_are_dropped_and_the_next_ones_are_sent() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let mut calls = 0;
    let recorder = Recorder::of(&told).failing(move || {
        calls += 1;
        (calls == 1).then(|| TrackerError::permanent("no metric may have this name"))
    });
    let config = saving_every_4_steps(root.path(), 1);
    train_by(config.clone(), Script::default(), |trainer| trainer.callback(patient(recorder))).unwrap();
    let first = told.lock().lines.len();
    assert!(matches!(told.lock().ends[0].outcome, RunOutcome::Done(None)));
    let config = config.with_max_epochs(2).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    // Ten batches, a validation and an epoch.
    assert_eq!(told.lock().lines.len(), first + 12, "they are not sent again by a resume");
}

#[test]
fn a_tracker_that_never_returns_does_not_hold_up_the_run() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let (never, waits) = channel::<()>();
    let hanging = Recorder::of(&told).failing(move || {
        let _ = waits.recv();
        None
    });
    let callback =
        TrackerCallback::new(hanging).with_wait_at_end(Duration::from_millis(1)).with_max_waiting(5);
    let result = train_by(config(root.path(), 3), Script::default(), |trainer| trainer.callback(callback));
    assert_eq!(result.unwrap().epochs, 3);
    assert!(told.lock().ends.is_empty());
    drop(never);
}

#[test]
fn a_tracker_that_panics_does_not_end_the_run() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let panicking = Recorder::of(&told).failing(|| panic!("a tracker's own fault"));
    let result = train_by(config(root.path(), 2), Script::default(), |trainer| trainer.tracker(panicking));
    assert_eq!(result.unwrap().epochs, 2);
    assert_eq!(told.lock().starts.len(), 1);
}

#[test]
fn a_file_of_a_user_in_the_place_of_its_state_stays_and_the_tracker_is_off() {
    let root = tempfile::tempdir().unwrap();
    let path = run_dir(root.path()).join("tracker-recorder.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine").unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    train_by(config(root.path(), 1), Script::default(), |trainer| {
        trainer.callback(patient(Recorder::of(&told)))
    })
    .unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(told.lock().starts.is_empty());
}

#[test]
fn a_name_that_there_is_not_is_an_error_of_the_configuration() {
    let root = tempfile::tempdir().unwrap();
    let error = train(config(root.path(), 1).with_trackers(["comet"])).unwrap_err();
    let Error::Config { setting, reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(setting, "trackers");
    assert!(reason.contains("\"comet\"") && reason.contains("csv"), "{reason}");
    let twice = train(config(root.path(), 1).with_trackers(["csv", "csv"])).unwrap_err();
    assert!(matches!(twice, Error::Config { .. }), "{twice:?}");
}
