//! A tracker that is much slower than training, or was sent much beyond the checkpoint, gets each line once.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use burn_ckpt::metrics_log::Line;
use burn_ckpt::retention::TopK;
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{RunEnd, RunInfo};
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::trackers::{StartAt, Tracker, TrackerCallback, TrackerResult};
use parking_lot::Mutex;
use serde_json::{Value, json};
use system_tests::config;
use system_tests::models::small::{OnStep, Script, train_by};
use system_tests::run_files::{checkpoints, run_dir};

use super::{Recorder, Told, log, patient, saving_every_4_steps, without_times};

/// More batches than the lines whose values are known.
const MANY: usize = 4_200;

#[test]
fn lines_for_which_the_queue_has_no_room_are_sent_from_the_log() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let (held, waits) = channel::<()>();
    let slow = Recorder::of(&told).failing(move || {
        // Until the test lets it go, and never again.
        let _ = waits.recv();
        None
    });
    let held = Mutex::new(Some(held));
    let action = OnStep(Arc::new(move || drop(held.lock().take())));
    let script = Script { at_step: Some((25, action)), ..Script::default() };
    let callback = patient(slow).with_max_waiting(3);
    train_by(config(root.path(), 3), script, |trainer| trainer.callback(callback)).unwrap();
    assert_eq!(told.lock().lines, log(root.path()));
    assert_eq!(told.lock().ends.len(), 1);
}

#[test]
fn lines_that_a_slow_tracker_did_not_get_are_sent_when_the_run_resumes() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let (never, waits) = channel::<()>();
    let mut calls = 0;
    let hanging = Recorder::of(&told).failing(move || {
        calls += 1;
        if calls > 1 {
            let _ = waits.recv();
            return Some("too late".into());
        }
        None
    });
    let callback =
        TrackerCallback::new(hanging).with_wait_at_end(Duration::from_millis(1)).with_max_waiting(3);
    let config = saving_every_4_steps(root.path(), 2);
    train_by(config.clone(), Script::default(), |trainer| trainer.callback(callback)).unwrap();
    assert!(told.lock().lines.len() < log(root.path()).len());
    drop(never);
    let config = config.with_max_epochs(3).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert_eq!(without_times(&told.lock().lines), without_times(&log(root.path())));
    assert!(told.lock().branches.is_empty(), "{:?}", told.lock().branches);
}

/// An epoch of many batches, with all of its checkpoints.
fn long(root: &Path) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(20).with_topk(TopK::All);
    config(root, 1).with_strategies([StrategyConfig::Last(last)])
}

fn train_long(config: TrainerConfig, told: &Arc<Mutex<Told>>) {
    let script = Script { batches: Some(MANY), ..Script::default() };
    train_by(config, script, |trainer| trainer.callback(patient(Recorder::of(told)))).unwrap();
}

#[test]
fn lines_that_were_sent_long_ago_are_not_sent_again_unless_a_later_one_is_another() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    train_long(long(root.path()), &told);
    let first = checkpoints(root.path()).join("last/epoch=0-step=20.ckpt");
    let resumed = || long(root.path()).with_ckpt_path(first.to_str().unwrap());
    train_long(resumed(), &told);
    assert_eq!(without_times(&told.lock().lines), without_times(&log(root.path())));
    assert!(told.lock().branches.is_empty(), "{:?}", told.lock().branches);

    // As if the last lines had other values.
    let path = run_dir(root.path()).join("tracker-recorder.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    state["sent"]["batch_values"].as_array_mut().unwrap().iter_mut().for_each(|value| value[2] = json!(1));
    fs::write(&path, state.to_string()).unwrap();
    *told.lock() = Told::default();
    train_long(resumed(), &told);
    let all = without_times(&log(root.path()));
    assert_eq!(without_times(&told.lock().lines), all[20..], "none is missing or there twice");
    let branches: Vec<u64> = told.lock().branches.iter().map(|line| line.step).collect();
    assert_eq!(branches, [21]);
}

#[test]
fn values_of_other_settings_that_a_dead_server_has_missed_are_sent_by_the_next_resume() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let config = saving_every_4_steps(root.path(), 2);
    train_by(config.clone(), Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told))))
        .unwrap();
    // As if another process had logged other values from step 15 on, and could not send them.
    let path = run_dir(root.path()).join("tracker-recorder.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let values = state["sent"]["batch_values"].as_array_mut().unwrap();
    values.iter_mut().skip(14).for_each(|value| value[2] = json!(1));
    fs::write(&path, state.to_string()).unwrap();
    *told.lock() = Told::default();
    let config = config.with_max_epochs(3).with_ckpt_path("auto");
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    let lines = log(root.path());
    let first = lines.iter().position(|line| line.batch.is_some() && line.step == 15).unwrap();
    assert_eq!(without_times(&told.lock().lines), without_times(&lines)[first..]);
    assert_eq!(told.lock().branches, lines[first..=first]);
}

/// A tracker whose state is the number of calls that succeeded.
#[derive(Default)]
struct Counter(u64);

impl Tracker for Counter {
    fn name(&self) -> String {
        "counter".to_owned()
    }

    fn start(&mut self, _: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        self.0 = state.and_then(|state| state.as_u64()).unwrap_or_default();
        Ok(StartAt::FirstUnsent)
    }

    fn log(&mut self, _: &[Line]) -> TrackerResult {
        Ok(())
    }

    fn end(&mut self, _: &RunEnd) -> TrackerResult {
        self.0 += 1;
        Ok(())
    }

    fn upload(&mut self, _: &RunEnd) -> TrackerResult {
        self.0 += 10;
        Ok(())
    }

    fn state(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

#[test]
fn the_state_of_a_tracker_is_kept_after_its_last_call_too() {
    let root = tempfile::tempdir().unwrap();
    for epochs in 1..=2_u64 {
        let config = saving_every_4_steps(root.path(), epochs as usize).with_ckpt_path("auto");
        train_by(config, Script::default(), |trainer| trainer.callback(patient(Counter::default()))).unwrap();
        let text = fs::read_to_string(run_dir(root.path()).join("tracker-counter.json")).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(state["state"], 11 * epochs);
    }
}
