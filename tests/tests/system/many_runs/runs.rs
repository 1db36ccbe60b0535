//! `burn-ckpt runs`: a line for each run with what its files say, in the order that the user asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::train::metric::LossMetric;
use burn_ckpt::retention::MetricMode;
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::MetricConfig;
use serde_json::{Value, json};
use system_tests::models::small::{Script, ScriptedMetric, train_with};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stderr, stdout};
use system_tests::run_files::{copy_tree, in_memory, metadata, run_dir};
use system_tests::storage_faults::errors::ENOENT;
use system_tests::storage_faults::{FailingCall, FailingCalls};
use system_tests::{config, train, train_scored, train_scripted};

use super::terminals::shown;

fn runs(directory: &Path, more: &[&str]) -> Vec<Value> {
    let mut command = burn_ckpt_command();
    let output = command.arg("runs").arg(directory).arg("--json").args(more).output().unwrap();
    serde_json::from_str::<Value>(&stdout(&output)).unwrap().as_array().unwrap().clone()
}

fn names(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["run"].as_str().unwrap()).collect()
}

/// A run with a metric of these values, one for each epoch.
fn scored(root: &Path, run: &str, mode: MetricMode, scores: &[f64]) {
    let metric = MetricConfig::new("val_score").with_mode(mode);
    let config = config(root, scores.len()).with_run_id(run).with_primary_metric(metric);
    train_scored(config, scores).unwrap();
}

fn logs(root: &Path) -> PathBuf {
    root.join("burn_trainer_logs")
}

/// Takes a key from the trainer's state in a run's newest checkpoint: an earlier version's does not have it.
fn without_in_newest(run: &Path, key: &str) {
    let last = run.join("checkpoint/last.ckpt").canonicalize().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let key = format!("\"{key}\"");
    let place = bytes.windows(key.len()).position(|found| found == key.as_bytes()).unwrap();
    bytes[place + 1] = b'-';
    fs::write(&last, bytes).unwrap();
}

#[test]
fn each_run_has_what_its_checkpoints_say() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), "a", MetricMode::Min, &[3.0, 1.0, 2.0]);
    let run = &runs(root.path(), &[])[0];
    let directory = logs(root.path()).join("a/checkpoint");
    let (last, best) =
        (metadata(&directory.join("last.ckpt")), metadata(&directory.join("best_val_score.ckpt")));
    assert_eq!((&run["run"], &run["status"], &run["why"]), (&json!("a"), &json!("done"), &json!("")));
    assert_eq!((&run["epochs"], &run["max_epochs"]), (&json!(3), &last["trainer_config"]["max_epochs"]));
    assert_eq!(run["steps"], last["global_step"]);
    for key in ["training_time_seconds", "start_timestamp", "checkpoint_timestamp", "hparams"] {
        assert_eq!(run[key], last[key], "{key}");
    }
    assert_eq!(
        run["best"],
        json!({ "metric": "val_score", "mode": "min", "value": best["metrics"]["val_score"], "step": 20,
            "other_settings": {}, "is_trained_again": false })
    );
    assert_eq!(run["metrics"]["val_score"], json!({ "newest": 2.0, "best": 1.0 }));
    assert_eq!(run["trainer_config"]["seed"], last["trainer_config"]["seed"]);
    // best and last are files of their own here: two states.
    let sizes = ["best/epoch=1-step=20.ckpt", "last/epoch=2-step=30.ckpt"];
    let bytes: u64 = sizes.iter().map(|file| fs::metadata(directory.join(file)).unwrap().len()).sum();
    assert_eq!((&run["size_bytes"], &run["checkpoints"]), (&json!(bytes), &json!(2)));
}

#[test]
fn a_file_with_two_names_counts_once() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = logs(root.path()).join("r1/checkpoint");
    let bytes = fs::metadata(directory.join("last/epoch=0-step=10.ckpt")).unwrap().len();
    assert_eq!(runs(root.path(), &[])[0]["size_bytes"], bytes);
    // Files of their own, as on a file system without hard links.
    let name = directory.join("best/epoch=0-step=10.ckpt");
    let content = fs::read(&name).unwrap();
    fs::remove_file(&name).unwrap();
    fs::write(&name, content).unwrap();
    assert_eq!(runs(root.path(), &[])[0]["size_bytes"], 2 * bytes);
}

#[test]
fn runs_are_found_from_a_projects_directory_by_their_own_and_from_within() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("src")).unwrap();
    for run in ["a", "b"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = logs(root.path());
    assert_eq!(names(&runs(root.path(), &[])), ["a", "b"]);
    assert_eq!(names(&runs(&logs, &[])), ["a", "b"]);
    assert_eq!(names(&runs(&logs.join("b"), &[])), ["b"]);
    assert_eq!(names(&runs(&logs.join("b/checkpoint"), &[])), ["b"]);
    for (directory, expected) in [(root.path().to_path_buf(), vec!["a", "b"]), (logs.join("a"), vec!["a"])] {
        let output = burn_ckpt_command().args(["runs", "--json"]).current_dir(directory).output().unwrap();
        let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(names(found.as_array().unwrap()), expected);
    }
    let (out, err) = ended_with(&burn_ckpt(&[&"runs", &root.path().join("src")]), 1);
    assert!(out.is_empty() && err.contains("src has no run: name a directory of runs"), "{err}");
}

#[test]
fn what_differs_between_the_runs_has_columns_and_what_does_not_has_none() {
    let root = tempfile::tempdir().unwrap();
    let small = |run: &str, seed| config(root.path(), 1).with_run_id(run).with_seed(seed);
    train(small("a", 1).with_tags(["x"]).with_notes("one")).unwrap();
    train(small("b", 2)).unwrap();
    let heading = || {
        let text = stdout(&burn_ckpt(&[&"runs", &root.path()]));
        text.lines()
            .next()
            .unwrap()
            .split("  ")
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
    };
    let always = ["run", "status", "epochs", "steps", "val_loss (min)", "time", "items/s", "size", "age"];
    assert_eq!(heading(), [&always[..], &["seed", "tags"]].concat());
    train_scripted(small("c", 1), Script { hidden: 9, ..Script::default() }).unwrap();
    assert_eq!(heading(), [&always[..], &["hidden", "seed", "tags"]].concat());
    let text = stdout(&burn_ckpt(&[&"runs", &root.path(), &"--columns", &"run,hidden,trainer.seed,tags"]));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["run", "hidden", "seed", "tags"],
            vec!["a", "6", "1", "x"],
            vec!["b", "6", "2"],
            vec!["c", "9", "1"]
        ]
    );
}

#[test]
fn a_sort_by_a_metric_shows_the_best_first_whatever_its_direction() {
    for (mode, expected) in [(MetricMode::Min, ["b", "c", "a"]), (MetricMode::Max, ["a", "c", "b"])] {
        let root = tempfile::tempdir().unwrap();
        for (run, score) in [("a", 3.0), ("b", 1.0), ("c", 2.0)] {
            scored(root.path(), run, mode, &[score]);
        }
        // Without a value: it comes last, in both directions.
        fs::create_dir_all(logs(root.path()).join("0/checkpoint")).unwrap();
        let with_last = |order: [&'static str; 3]| [&order[..], &["0"]].concat();
        for key in ["val_score", "best", "metric.val_score"] {
            assert_eq!(names(&runs(root.path(), &["--sort", key])), with_last(expected), "{mode:?} {key}");
        }
        let [first, second, third] = expected;
        let reversed = runs(root.path(), &["--sort", "val_score", "--reverse"]);
        assert_eq!(names(&reversed), with_last([third, second, first]));
    }
}

#[test]
fn a_metric_that_ranks_nothing_has_the_direction_that_it_declares() {
    let root = in_memory();
    for (run, seed, score) in [("a", 1, 0.7), ("b", 2, 0.9), ("c", 3, 0.8)] {
        let metric = ScriptedMetric::new("Score", &[score]).higher_is_better(Some(true));
        let config = config(root.path(), 1).with_run_id(run).with_seed(seed);
        train_with(config, Script::default(), |training| {
            training.metric_valid_numeric(metric).metrics((LossMetric::new(),))
        })
        .unwrap();
    }
    let sorted = |key: &str| {
        let output = burn_ckpt(&[&"runs", &root.path(), &"--json", &"--sort", &key]);
        let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let names = found.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned());
        (names.collect::<String>(), stderr(&output))
    };
    assert_eq!(sorted("val_score"), ("bca".to_owned(), String::new()));
    // Lower is better where a metric declares no direction, if a validation measures it too.
    assert_eq!(sorted("train_loss").1, "");
    // Nothing is removed by it: a metric that says nothing is one of which higher is better, to burn.
    let keep = ["--dry-run", "--keep", "best=val_score:1"];
    let pruned = burn_ckpt(&[&"prune", &logs(root.path()).join("a"), &keep[0], &keep[1], &keep[2]]);
    assert!(ended_with(&pruned, 2).1.contains("add --mode min or --mode max"));
    // A run of an earlier version does not say it, and is sorted as the others are.
    without_in_newest(&logs(root.path()).join("c"), "directions");
    let (order, said) = sorted("val_score");
    assert_eq!(order, "bca");
    assert!(said.contains("1 run does not say") && said.contains("higher val_score is better"), "{said}");
    ["a", "b"].into_iter().for_each(|run| without_in_newest(&logs(root.path()).join(run), "directions"));
    let (order, said) = sorted("val_score");
    assert!(order == "acb" && said.contains("lower or higher val_score is better"), "{order}: {said}");
}

#[test]
fn a_sort_is_by_number_where_there_are_numbers() {
    let root = tempfile::tempdir().unwrap();
    for (run, hidden) in [("a", 10), ("b", 9), ("c", 100)] {
        let script = Script { hidden, ..Script::default() };
        train_scripted(config(root.path(), 1).with_run_id(run), script).unwrap();
    }
    for key in ["hidden", "hparam.hidden"] {
        assert_eq!(names(&runs(root.path(), &["--sort", key])), ["b", "a", "c"], "{key}");
    }
    assert_eq!(names(&runs(root.path(), &["--sort", "run", "--reverse"])), ["c", "b", "a"]);
    assert_eq!(names(&runs(root.path(), &["--reverse"])), ["c", "b", "a"]);
    // In runs of earlier versions the direction of a metric that ranks nothing is not known, which is said.
    ["a", "b", "c"].into_iter().for_each(|run| without_in_newest(&logs(root.path()).join(run), "directions"));
    let output = burn_ckpt(&[&"runs", &root.path(), &"--sort", &"train_loss"]);
    assert!(stderr(&output).contains("lower or higher train_loss is better"), "{}", stderr(&output));
    for flag in ["--sort", "--columns"] {
        let (out, err) = ended_with(&burn_ckpt(&[&"runs", &root.path(), &flag, &"hiden"]), 1);
        let expected = "no run has \"hiden\"; did you mean hidden? Columns: run, ";
        assert!(out.is_empty() && err.contains(expected), "{err}");
        for known in ["epochs", "val_loss", "hidden", "max_epochs"] {
            assert!(err.contains(known), "{known}: {err}");
        }
    }
}

#[test]
fn runs_that_rank_by_different_metrics_say_which() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), "a", MetricMode::Max, &[3.0]);
    train(config(root.path(), 1).with_run_id("b")).unwrap();
    let text = stdout(&burn_ckpt(&[&"runs", &root.path(), &"--columns", &"run,best"]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["run  best", "a    3.000 val_score (max)"]);
    assert!(lines[2].starts_with("b    ") && lines[2].ends_with(" val_loss (min)"), "{text}");
}

#[test]
fn values_that_are_not_numbers_are_written_as_the_metadata_writes_them() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), "a", MetricMode::Min, &[f64::NAN]);
    let run = &runs(root.path(), &[])[0];
    assert_eq!(run["metrics"]["val_score"], json!({ "newest": "NaN", "best": "NaN" }));
}

#[test]
fn many_runs_are_listed_within_a_second_or_so() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let one = logs(root.path()).join("r1");
    for number in 2..=58 {
        copy_tree(&one, &logs(root.path()).join(format!("r{number}")));
    }
    // The program is there, and its files are in memory.
    assert_eq!(runs(root.path(), &[]).len(), 58);
    let begun = Instant::now();
    let text = stdout(&burn_ckpt(&[&"runs", &root.path()]));
    // A debug build on a machine that does other things, too. Alone it takes 0.4 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(text.lines().count(), 59);
}

#[test]
fn a_run_of_the_defaults_has_no_primary_metric_and_no_column_for_it() {
    let root = tempfile::tempdir().unwrap();
    let config = TrainerConfig::new().with_root(root.path()).with_run_id("a").with_max_epochs(1);
    train(config.with_last(burn_trainer::strategy::Last::new())).unwrap();
    let run = &runs(root.path(), &[])[0];
    assert_eq!((&run["best"], &run["status"]), (&Value::Null, &json!("done")));
    let text = stdout(&burn_ckpt(&[&"runs", &root.path()]));
    assert!(!text.contains("best"), "{text}");
}

#[test]
fn runs_whose_newest_checkpoint_is_not_a_best_one_are_sorted_by_their_best() {
    let root = tempfile::tempdir().unwrap();
    // Stopped within its second epoch: the newest checkpoint has no value of the validation. The metric says
    // its direction itself.
    for (run, score) in [("a", 2.0), ("b", 3.0), ("c", 1.0)] {
        let config = config(root.path(), 9).with_run_id(run).with_primary_metric("val_score");
        train_scored(config.with_max_steps(15), &[score]).unwrap();
    }
    let is_sorted_and_marked = |of: &str| {
        let sorted = burn_ckpt(&[&"runs", &root.path(), &"--json", &"--sort", &"val_score"]);
        assert!(!stderr(&sorted).contains("lower or higher"), "{of}: {}", stderr(&sorted));
        let found: Value = serde_json::from_str(&stdout(&sorted)).unwrap();
        assert_eq!(names(found.as_array().unwrap()), ["c", "a", "b"], "{of}");
        let log = stdout(&burn_ckpt(&[&"log", &logs(root.path()).join("a"), &"--json"]));
        let epochs: Value = serde_json::from_str(&log).unwrap();
        assert_eq!(epochs[0]["is_best"], true, "{of}: {log}");
    };
    is_sorted_and_marked("this version");
    // The newest checkpoint of an earlier version has the modes of those strategies alone that it is saved
    // for.
    for run in ["a", "b", "c"] {
        ["modes", "directions"]
            .into_iter()
            .for_each(|key| without_in_newest(&logs(root.path()).join(run), key));
    }
    is_sorted_and_marked("an earlier version");
}

#[test]
fn what_a_status_means_and_what_the_runs_are_sorted_by_stay_on_a_narrow_terminal() {
    let root = tempfile::tempdir().unwrap();
    for (run, hidden) in [("a-run-with-a-rather-long-name", 10), ("b", 9)] {
        let script = Script { hidden, ..Script::default() };
        let config = config(root.path(), 1).with_primary_metric("val_loss").with_seed(hidden as u64);
        train_scripted(config.with_run_id(run), script).unwrap();
    }
    fs::write(logs(root.path()).join("b/checkpoint/last/x.ckpt"), "not a checkpoint").unwrap();
    let logs = logs(root.path()).display().to_string();
    let of = |more: &[&str]| shown(24, 80, &[&["runs", &logs][..], more].concat(), &[("NO_COLOR", "1")]);
    let text = of(&[]);
    assert!(text.contains("why") && text.contains("1 of 3 checkpoi"), "{text}");
    let text = of(&["--sort", "steps"]);
    assert!(text.lines().next().unwrap().contains("steps"), "{text}");
    // Of the file that is damaged.
    let all_by = |key: &str| ended_with(&burn_ckpt(&[&"runs", &logs, &"--sort", &key]), 1).0;
    let all = all_by("train_loss");
    assert!(all.lines().next().unwrap().contains("train_loss"), "{all}");
    // What is there already is there once.
    let all = all_by("hidden");
    assert_eq!(all.lines().next().unwrap().matches("hidden").count(), 1, "{all}");
    let all = all_by("val_loss");
    assert_eq!(all.lines().next().unwrap().matches("val_loss").count(), 1, "{all}");
}

#[test]
fn a_run_whose_newest_checkpoint_is_deleted_while_it_is_listed_is_listed_again() {
    let calls = FailingCalls::compile();
    let root = in_memory();
    train(config(root.path(), 2).with_primary_metric("val_loss")).unwrap();
    let run = run_dir(root.path());
    let newest = run.join("checkpoint/last/epoch=1-step=20.ckpt");
    let runs = || {
        let mut command = burn_ckpt_command();
        command.arg("runs").arg(&run).arg("--json");
        command
    };
    // It is opened for the list, and then for the state of the training. From there on it is not there.
    let operations = calls.noted(runs(), &newest);
    let is_open = |operation: &String| operation.starts_with("open ") && operation.ends_with(".ckpt");
    let at = operations.iter().rposition(is_open).unwrap_or_else(|| panic!("{operations:?}")) + 1;
    let mut command = runs();
    calls.apply(&mut command, &newest, FailingCall { call: "any", at, errno: ENOENT });
    let output = command.env("FAILING_ONWARDS", "1").output().unwrap();
    let (out, err) = ended_with(&output, 0);
    let found = &serde_json::from_str::<Value>(&out).unwrap()[0];
    // The best one has the same state.
    assert_eq!(
        (&found["status"], &found["epochs"], &found["unreadable"]),
        (&json!("done"), &json!(2), &json!([]))
    );
    assert_eq!(err, "", "{out}");
}
