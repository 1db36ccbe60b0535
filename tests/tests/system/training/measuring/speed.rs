//! The speed of a run: in its lines, on the dashboard, in the result and in the metadata, over all starts.

use std::path::Path;
use std::process::Command;

use burn::train::metric::LossMetric;
use burn_trainer::config::EndWith;
use burn_trainer::{FitResult, RunSpeed, Trainer, TrainerConfig};
use serde_json::Value;
use system_tests::models::small::{
    BATCH, Model, STEPS_PER_EPOCH, Script, config, learner, shuffling, train_scripted, train_with_strategy,
};
use system_tests::programs::commands::{build, burn_ckpt, ended_with, stdout};
use system_tests::programs::on_terminal::OnTerminal;
use system_tests::run_files::{checkpoints, compare, in_memory, metadata, run_dir};

/// Items in an epoch.
const ITEMS: u64 = (BATCH * STEPS_PER_EPOCH) as u64;

fn train(root: &Path, epochs: usize, script: Script) -> burn_trainer::Result<FitResult<Model>> {
    let trainer = Trainer::new(config(root, epochs).with_ckpt_path("auto"), &script.hparams())?;
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    trainer.fit(training, learner(script))
}

fn seconds(speed: &RunSpeed) -> f64 {
    speed.step_seconds + speed.data_seconds + speed.save_seconds + speed.validation_seconds
}

fn of_last(root: &Path) -> Value {
    metadata(&checkpoints(root).join("last.ckpt"))["speed"].clone()
}

#[test]
fn the_result_and_the_metadata_say_where_the_time_went_over_all_starts() {
    let root = in_memory();
    let first = train(root.path(), 2, Script::default()).unwrap();
    let speed = first.speed.unwrap();
    assert_eq!((speed.items, speed.steps), (2 * ITEMS, 20));
    let parts = [speed.step_seconds, speed.data_seconds, speed.save_seconds, speed.validation_seconds];
    assert!(parts.iter().all(|part| *part > 0.0), "{speed:?}");
    assert!(seconds(&speed) <= first.training_time_seconds, "{speed:?} {}", first.training_time_seconds);
    let saved = of_last(root.path());
    assert_eq!((&saved["items"], &saved["steps"]), (&(2 * ITEMS).into(), &20.into()));
    assert!(saved["items_per_second"].as_f64().unwrap() > 0.0, "{saved}");

    // The second start adds to the first, and does not train what the first has trained.
    let failing = Script { panic_in_step: Some(14), ..Script::default() };
    train(root.path(), 5, failing).unwrap_err();
    let second = train(root.path(), 5, Script::default()).unwrap().speed.unwrap();
    assert_eq!((second.items, second.steps), (5 * ITEMS, 50));
    assert!(second.step_seconds > speed.step_seconds);
    let (printed, _) = ended_with(&burn_ckpt(&[&"show", &checkpoints(root.path()).join("last.ckpt")]), 0);
    for words in ["speed", " items/s, ", " steps/s; ", "% of the time waiting for data", "model"] {
        assert!(printed.contains(words), "no {words:?} in {printed}");
    }
}

#[test]
fn the_speed_at_the_end_is_the_one_in_the_last_checkpoint() {
    for end in [
        &(|config: TrainerConfig| config) as &dyn Fn(TrainerConfig) -> TrainerConfig,
        &|config| config.with_max_steps(15),
        &|config| config.with_end_with(EndWith::Best),
    ] {
        let root = in_memory();
        let script = Script::default();
        let trainer = Trainer::new(end(config(root.path(), 2)), &script.hparams()).unwrap();
        let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
        let speed = trainer.fit(training, learner(script)).unwrap().speed.unwrap();
        let saved = of_last(root.path());
        // Numbers that were read as text can differ in the last bit.
        let is_same = |found: &Value| {
            let (found, expected) = (found.as_f64().unwrap(), speed.items_per_second().unwrap());
            (found - expected).abs() < 1e-12 * expected
        };
        assert!(is_same(&saved["items_per_second"]), "{saved} {speed:?}");
        assert!(
            (saved["save_seconds"].as_f64().unwrap() - speed.save_seconds).abs() < 1e-12,
            "{saved} {speed:?}"
        );
        let runs = stdout(&burn_ckpt(&[&"runs", &run_dir(root.path()).parent().unwrap(), &"--json"]));
        let runs: Value = serde_json::from_str(&runs).unwrap();
        assert!(is_same(&runs[0]["items_per_second"]), "{runs} {speed:?}");
    }
}

#[test]
fn a_resumed_run_is_the_same_although_its_times_differ() {
    let (whole, parts) = (in_memory(), in_memory());
    train(whole.path(), 2, Script::default()).unwrap();
    train(parts.path(), 2, Script { panic_in_step: Some(7), ..Script::default() }).unwrap_err();
    train(parts.path(), 2, Script::default()).unwrap();
    assert_ne!(of_last(whole.path())["data_seconds"], of_last(parts.path())["data_seconds"]);
    compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
}

#[test]
fn checkpoints_without_sums_and_loops_of_others_are_told_apart() {
    let root = in_memory();
    let strategy = burn::train::ExecutionStrategy::single(system_tests::backend::device().autodiff());
    let result = train_with_strategy(config(root.path(), 1), strategy).unwrap();
    assert_eq!(result.speed, None);
    assert_eq!(of_last(root.path()), Value::Null);
    // The sums begin with the start that measures.
    let resumed = train_scripted(config(root.path(), 3).with_ckpt_path("auto"), Script::default()).unwrap();
    assert_eq!(resumed.speed.unwrap().steps, 20);
}

#[test]
fn plain_lines_have_the_speed_of_training_alone() {
    let root = in_memory();
    let program = build(&["digits"]).join("digits");
    let mut command = Command::new(&program);
    command.arg("--root").arg(root.path()).args(["--run-id", "r1", "--epochs", "2"]);
    let output = command.output().unwrap();
    let printed = stdout(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = |split: &str| said.lines().filter(|line| line.contains(split)).collect::<Vec<_>>();
    let (train, valid) = (lines(" train 1"), lines(" valid 3"));
    assert_eq!((train.len(), valid.len()), (2, 2), "{said}");
    for words in [" items/s  ", " steps/s  data ", " %  saves ", " left)"] {
        assert!(train[0].contains(words) && !valid[0].contains(words), "no {words:?} in {said}");
    }
    assert!(printed.contains(" steps/s; ") && printed.contains("waiting for data"), "{printed}");
}

#[test]
fn the_dashboard_has_the_speed_beside_the_metrics_and_the_files_do_not() {
    let root = in_memory();
    let program = build(&["digits"]).join("digits");
    let mut command = Command::new(&program);
    command.arg("--root").arg(root.path()).args(["--run-id", "r1", "--epochs", "1000000"]);
    let mut drawn = OnTerminal::start(&command);
    drawn.wait_for("the speed", |shown| shown.contains("Items per second"));
    let first = run_dir(root.path()).join("train/epoch-1");
    drawn.wait_for("the second epoch", |_| run_dir(root.path()).join("train/epoch-2").exists());
    let files = std::fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["Accuracy.log", "Loss.log"]);
    drawn.send("TERM");
    assert_eq!(drawn.end().code(), Some(143));
}
