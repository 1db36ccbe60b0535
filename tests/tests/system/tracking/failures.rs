//! What fails in a tracker is tried again, and never ends training.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use burn_trainer::Error;
use burn_trainer::callbacks::RunOutcome;
use burn_trainer::trackers::{TrackerCallback, TrackerError};
use parking_lot::Mutex;
use system_tests::models::small::{Script, train_by};
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
    let path = system_tests::run_files::run_dir(root.path()).join("tracker-recorder.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    train_by(config(root.path(), 1), Script::default(), |trainer| {
        trainer.callback(patient(Recorder::of(&told)))
    })
    .unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
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
