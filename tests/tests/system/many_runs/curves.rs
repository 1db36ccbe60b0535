//! `burn-ckpt log` and `csv`: what a run has logged, as its log of metrics says it, for people and as a
//! table.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use burn_ckpt::retention::MetricMode;
use burn_trainer::config::Validation;
use burn_trainer::strategy::{MetricConfig, StrategyConfig};
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::{checkpoints, metadata, run_dir};
use system_tests::{config, train, train_and_keep_all, train_scored};

/// Prints a table as a list of objects, by Python's own reader.
const ROWS: &str = "import csv, json, sys
print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))))";

fn rows(csv: &str) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), csv).unwrap();
    let output = Command::new("python3").args(["-c", ROWS]).arg(file.path()).output().unwrap();
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The lines of a run's log, without the first.
fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn scored(root: &Path, mode: MetricMode, scores: &[f64]) {
    let metric = MetricConfig::new("val_score").with_mode(mode);
    train_scored(config(root, scores.len()).with_primary_metric(metric), scores).unwrap();
}

fn logged(run: &Path) -> Vec<Value> {
    let text = stdout(&burn_ckpt(&[&"log", &run, &"--json"]));
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

#[test]
fn only_the_metrics_that_are_named_are_listed_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let text = stdout(&burn_ckpt(&[&"log", &run, &"--metrics", &"train_loss,val_loss"]));
    let heading: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["epoch", "step", "train_loss", "val_loss", "(min)", "best", "ended"], "{text}");
    // Which epoch is the best does not depend on what is listed.
    let text = stdout(&burn_ckpt(&[&"log", &run, &"--metrics", &"train_loss"]));
    let marked: Vec<bool> = text.lines().skip(1).map(|line| line.contains("  best  ")).collect();
    let best: Vec<bool> = logged(&run).iter().map(|epoch| epoch["is_best"] == true).collect();
    assert!(marked == best && best.contains(&true), "{text}");
    let (_, err) = ended_with(&burn_ckpt(&[&"log", &run, &"--metrics", &"val_loss,loss"]), 1);
    assert!(err.contains("has the metric \"loss\"") && err.contains("val_loss"), "{err}");
}

#[test]
fn each_epoch_has_a_line_and_the_best_is_marked() {
    for (mode, best) in [(MetricMode::Min, 1), (MetricMode::Max, 2)] {
        let root = tempfile::tempdir().unwrap();
        scored(root.path(), mode, &[2.0, 1.0, 3.0, 1.0]);
        let run = run_dir(root.path());
        let text = stdout(&burn_ckpt(&[&"log", &run]));
        let heading = text.lines().next().unwrap();
        let direction = if mode == MetricMode::Min { "val_score (min)" } else { "val_score (max)" };
        assert!(heading.contains(direction) && heading.trim_start().starts_with("epoch  step"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        let marked: Vec<usize> = (0..)
            .zip(text.lines().skip(1))
            .filter(|(_, line)| line.contains(" best"))
            .map(|(epoch, _)| epoch)
            .collect();
        assert_eq!(marked, [best], "{text}");
        for (epoch, found) in (0..).zip(logged(&run)) {
            assert_eq!((&found["epoch"], &found["step"]), (&json!(epoch), &json!(10 * (epoch + 1))));
            assert_eq!(found["is_best"], epoch == best);
            let of_epoch: Vec<Value> = lines(&run)
                .into_iter()
                .filter(|line| line["epoch"] == epoch && line["scope"] != "batch")
                .collect();
            for (name, value) in of_epoch.iter().flat_map(|line| line["metrics"].as_object().unwrap()) {
                assert_eq!(&found["metrics"][name], value, "{name}");
            }
            assert!(found["metrics"]["val_score"].is_number() && found["time"].is_string(), "{found}");
        }
    }
}

#[test]
fn many_epochs_are_shortened_to_the_newest_and_the_best() {
    let root = tempfile::tempdir().unwrap();
    let mut scores = vec![5.0; 60];
    scores[3] = 1.0;
    scored(root.path(), MetricMode::Min, &scores);
    let run = run_dir(root.path());
    let text = stdout(&burn_ckpt(&[&"log", &run]));
    let epochs: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(epochs[..3], ["epoch", "3", "10"]);
    assert_eq!(text.lines().last().unwrap(), "and 9 epochs before (--all)");
    assert_eq!(stdout(&burn_ckpt(&[&"log", &run, &"--all"])).lines().count(), 61);
    assert_eq!(logged(&run).len(), 60);
}

#[test]
fn the_table_has_every_value_of_the_log() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    // A value that JSON has no number for.
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last = text.lines().last().unwrap();
    let (_, value) = last.split_once("\"train_loss\":").unwrap();
    let with_nan = last.replace(value.trim_end_matches('}'), "\"NaN\"");
    fs::write(run.join("metrics.jsonl"), format!("{text}{with_nan}\n")).unwrap();
    let (rows, lines) = (rows(&stdout(&burn_ckpt(&[&"csv", &run]))), lines(&run));
    assert_eq!(rows.len(), lines.len());
    assert!(rows.len() > 20);
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for (row, line) in rows.iter().zip(&lines) {
        for key in ["step", "epoch", "split", "scope", "batch"] {
            assert_eq!(row[key], text(&line[key]), "{key}");
        }
        let metrics = line["metrics"].as_object().unwrap();
        for (name, value) in row.as_object().unwrap().iter().skip(6) {
            let value = value.as_str().unwrap();
            match metrics.get(name) {
                None => assert_eq!(value, ""),
                Some(Value::Number(expected)) => assert_eq!(value.parse::<f64>().ok(), expected.as_f64()),
                Some(expected) => assert_eq!(value, text(expected)),
            }
        }
    }
    for scope in ["batch", "epoch", "validation"] {
        let of_scope = self::rows(&stdout(&burn_ckpt(&[&"csv", &run, &"--scope", &scope])));
        let expected = lines.iter().filter(|line| line["scope"] == scope).count();
        assert_eq!(of_scope.len(), expected, "{scope}");
    }
    let (_, err) = ended_with(&burn_ckpt(&[&"csv", &run, &"--scope", &"step"]), 2);
    assert!(err.contains("validation"), "{err}");
}

#[test]
fn as_json_the_table_is_lines_with_the_keys_of_the_log() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let json_lines = |more: &[&str]| {
        let output = burn_ckpt_command().arg("csv").arg(&run).arg("--json").args(more).output().unwrap();
        let (out, _) = ended_with(&output, 0);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let without = |mut line: Value, keys: &[&str]| {
        keys.iter().for_each(|key| drop(line.as_object_mut().unwrap().remove(*key)));
        line
    };
    let logged: Vec<Value> = lines(&run).into_iter().map(|line| without(line, &["time"])).collect();
    assert!(logged.iter().any(|line| line["speed"]["steps_per_second"].is_number()));
    let found = json_lines(&[]);
    assert!(found.len() > 20 && found.iter().all(|line| line["time"].is_string()));
    let found: Vec<Value> = found.into_iter().map(|line| without(line, &["time"])).collect();
    assert_eq!(found, logged);
    let validations = json_lines(&["--scope", "validation"]);
    assert_eq!(validations.len(), 2);
    // A history has no times, no speed, and no batches.
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let found = json_lines(&[]);
    let of_epochs = logged.into_iter().filter(|line| line["scope"] != "batch");
    assert_eq!(found, of_epochs.map(|line| without(line, &["speed"])).collect::<Vec<_>>());
}

#[test]
fn a_line_that_is_being_written_is_left_out_and_an_invalid_one_is_named() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let whole = stdout(&burn_ckpt(&[&"csv", &run]));
    let mut log = fs::OpenOptions::new().append(true).open(run.join("metrics.jsonl")).unwrap();
    log.write_all(b"{\"step\":11,\"epoch\":1,\"split\":\"tr").unwrap();
    assert_eq!(stdout(&burn_ckpt(&[&"csv", &run])), whole);
    log.write_all(b"\n").unwrap();
    for verb in ["csv", "log"] {
        let (out, err) = ended_with(&burn_ckpt(&[&verb, &run]), 1);
        assert!(err.contains("metrics.jsonl") && err.contains("it is left out"), "{err}");
        assert!(!out.is_empty());
    }
}

#[test]
fn a_log_that_was_emptied_gives_way_to_the_history_with_a_warning() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let epochs = |text: &str| without_times(serde_json::from_str(text).unwrap());
    let whole = epochs(&stdout(&burn_ckpt(&[&"log", &run, &"--json"])));
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"log", &run, &"--json"]), 1);
    assert_eq!(epochs(&out), whole);
    assert!(err.contains("metrics.jsonl has no values"), "{err}");
}

#[test]
fn a_history_that_cannot_be_read_in_place_of_an_emptied_log_is_named() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    let newest = fs::canonicalize(run.join("checkpoint/last.ckpt")).unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let history = b"epoch_metrics";
    let place = bytes.windows(history.len()).position(|part| part == history).unwrap();
    bytes[place] ^= 1;
    fs::write(&newest, bytes).unwrap();
    for (verb, more) in [("log", ""), ("csv", ""), ("plot", "val_loss")] {
        let mut command = burn_ckpt_command();
        command.arg(verb).arg(&run).args(more.split_whitespace());
        let (_, err) = ended_with(&command.output().unwrap(), 1);
        let names_it = err.contains("metrics.jsonl has no values, and the history") && err.contains(".ckpt");
        assert!(names_it, "{verb}: {err}");
    }
    // A run that has just begun has neither, and nothing is wrong.
    fs::remove_dir_all(run.join("checkpoint")).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"log", &run]), 0);
    assert!(!err.contains("warning"), "{err}");
}

#[test]
fn a_run_of_an_earlier_version_has_the_epochs_of_its_newest_checkpoint() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v2");
    let root = tempfile::tempdir().unwrap();
    system_tests::run_files::copy_tree(&golden, root.path());
    let text = burn_ckpt(&[&"runs", &root.path(), &"--json"]);
    let runs: Value = serde_json::from_str(&stdout(&text)).unwrap();
    let digits = runs.as_array().unwrap().iter().find(|run| run["run"] == "digits").unwrap();
    let run = Path::new(digits["directory"].as_str().unwrap());
    let (out, err) = ended_with(&burn_ckpt(&[&"log", &run, &"--json"]), 0);
    assert!(err.contains("has no metrics.jsonl") && err.contains("these are the epochs in"), "{err}");
    let epochs: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(epochs.as_array().unwrap().len() as u64, digits["epochs"].as_u64().unwrap());
    assert!(epochs[0]["metrics"].as_object().unwrap().keys().any(|name| name.starts_with("val_")), "{out}");
    assert_eq!(rows(&stdout(&burn_ckpt(&[&"csv", &run]))).len(), 2 * epochs.as_array().unwrap().len());
    let empty = root.path().join("empty");
    fs::create_dir_all(empty.join("checkpoint")).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"log", &empty]), 1);
    assert!(err.contains("has neither metrics.jsonl nor a checkpoint"), "{err}");
}

/// Without the times, which a history does not have.
fn without_times(mut epochs: Vec<Value>) -> Vec<Value> {
    for epoch in &mut epochs {
        epoch["time"] = Value::Null;
    }
    epochs
}

#[test]
fn a_run_without_its_log_has_the_epochs_of_its_newest_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    scored(root.path(), MetricMode::Max, &[2.0, 1.0, f64::NAN, 3.0]);
    let run = run_dir(root.path());
    let log = without_times(logged(&run));
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"log", &run, &"--json"]), 0);
    assert!(err.contains("has no metrics.jsonl: these are the epochs in"), "{err}");
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(without_times(found), log);
    assert_eq!(log[3]["is_best"], true);
    let rows = rows(&stdout(&burn_ckpt(&[&"csv", &run])));
    let scores: Vec<&str> = rows.iter().filter_map(|row| row["val_score"].as_str()).collect();
    assert_eq!(scores, ["2.0", "1.0", "NaN", "3.0"]);
}

#[test]
fn a_run_without_its_log_and_without_an_epoch_says_so() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_max_steps(5)).unwrap();
    let run = run_dir(root.path());
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"log", &run]), 0);
    assert!(err.contains("no epoch is done yet"), "{err}");
}

#[test]
fn the_best_epoch_is_that_of_the_best_checkpoint_also_within_it() {
    let root = tempfile::tempdir().unwrap();
    let metric = MetricConfig::new("val_score").with_mode(MetricMode::Min);
    let config = config(root.path(), 3).with_primary_metric(metric);
    // Two validations in the first epoch, three in the second, two in the third.
    let scores = [5.0, 4.0, 1.0, 6.0, 7.0, 3.0, 3.5];
    train_scored(config.with_validation(Validation::every_n_steps(4)), &scores).unwrap();
    let best = metadata(&checkpoints(root.path()).join("best_val_score.ckpt"));
    assert_eq!((&best["epoch"], &best["global_step"]), (&json!(1), &json!(12)));
    let is_best: Vec<Value> =
        logged(&run_dir(root.path())).into_iter().map(|epoch| epoch["is_best"].clone()).collect();
    assert_eq!(is_best, [false, true, false]);
}

#[test]
fn the_best_of_a_part_that_was_trained_again_is_not_marked_among_the_epochs() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[5.0, 4.0, 1.0, 3.0], 1).unwrap();
    let (directory, run) = (checkpoints(root.path()), run_dir(root.path()));
    // From the first epoch, with other settings: its best is worse than that of the part that is left.
    let strategies = metadata(&directory.join("last.ckpt"))["trainer_config"]["strategies"].clone();
    let settings = config(root.path(), 4).with_primary_metric("val_score").with_seed(7);
    let again = settings
        .with_strategies(serde_json::from_value::<Vec<StrategyConfig>>(strategies).unwrap())
        .with_ckpt_path(directory.join("last/epoch=0-step=10.ckpt").to_str().unwrap());
    train_scored(again, &[4.5, 2.0, 6.0]).unwrap();

    let best = metadata(&directory.join("best_val_score.ckpt"));
    assert_eq!((&best["epoch"], &best["metrics"]["val_score"]), (&json!(2), &json!(1.0)));
    let (out, said) = ended_with(&burn_ckpt(&[&"log", &run, &"--json"]), 0);
    let epochs: Vec<Value> = serde_json::from_str(&out).unwrap();
    let scores: Vec<&Value> = epochs.iter().map(|epoch| &epoch["metrics"]["val_score"]).collect();
    assert_eq!(scores, [5.0, 4.5, 2.0, 6.0].map(Value::from).iter().collect::<Vec<_>>());
    // `ls` says that the epoch with 1.0 is the best, which is not among these.
    assert!(epochs.iter().all(|epoch| epoch["is_best"] == false), "{out}");
    assert!(
        said.contains("best/epoch=2-step=30.ckpt (epoch 2, 1.0") && said.contains("none of these"),
        "{said}"
    );
    let runs: Value =
        serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &run.parent().unwrap(), &"--json"]))).unwrap();
    assert_eq!(runs[0]["metrics"]["val_score"]["best"], 1.0, "{runs}");
    // Nor is it marked on a curve that it is not on.
    let plot = stdout(&burn_ckpt(&[&"plot", &run, &"val_score"]));
    assert!(plot.contains("checkpoint") && !plot.contains("best"), "{plot}");
}

#[test]
fn a_hostile_log_has_a_limit_of_metrics_and_writes_nothing_else_to_the_terminal() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let with = |names: &mut dyn Iterator<Item = String>| {
        let metrics: Vec<String> = names.map(|name| format!("\"{name}\":1")).collect();
        let line = r#"{"step":10,"epoch":0,"split":"train","scope":"epoch","metrics":{"#;
        fs::write(&path, format!("{text}{line}{}}}}}\n", metrics.join(","))).unwrap();
    };
    with(&mut std::iter::once("a\u{202e}b".to_owned()));
    for more in [&[][..], &["--json"]] {
        let output = burn_ckpt_command().arg("log").arg(&run).args(more).output().unwrap();
        let (out, _) = ended_with(&output, 0);
        assert!(!out.contains('\u{202e}') && out.contains("202e"), "{out}");
    }
    with(&mut (0..10_001).map(|number| format!("m{number}")));
    for verb in ["log", "csv"] {
        let (_, err) = ended_with(&burn_ckpt(&[&verb, &run]), 1);
        assert!(err.contains("more than 10000 metrics"), "{err}");
    }
}

#[test]
fn csv_says_what_is_missing_once() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let mut log = fs::File::options().append(true).open(run.join("metrics.jsonl")).unwrap();
    log.write_all(b"{\"step\":\n").unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"csv", &run]), 1);
    assert_eq!(err.matches("it is left out").count(), 1, "{err}");
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"csv", &run]), 0);
    assert_eq!(err.matches("has no metrics.jsonl").count(), 1, "{err}");
}
