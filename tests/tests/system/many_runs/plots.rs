//! `burn-ckpt plot`: curves that fit any terminal, what they are of, and every point as JSON.

use std::fs;
use std::path::{Path, PathBuf};

use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::{MetricMode, TopK};
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use serde_json::{Value, json};
use system_tests::models::small::{Model, Script, ScriptedMetric};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::{checkpoints, copy_tree, run_dir};
use system_tests::{config, train, train_with};

use super::terminals::{shown, widest, without_colors};

/// Dots of Braille.
fn has_dots(text: &str) -> bool {
    text.chars().any(|letter| ('\u{2801}'..='\u{28ff}').contains(&letter))
}

fn trained(epochs: usize) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), epochs)).unwrap();
    let run = run_dir(root.path());
    (root, run)
}

/// A run with a log alone, of values after each epoch.
fn logged(run: &Path, metric: &str, values: &[&str]) {
    fs::create_dir_all(run).unwrap();
    let mut text = "{\"format\":\"burn-ckpt metrics\",\"version\":1,\"run_id\":\"r\"}\n".to_owned();
    for (epoch, value) in values.iter().enumerate() {
        let step = 10 * (epoch + 1);
        text.push_str(&format!(
            "{{\"step\":{step},\"epoch\":{epoch},\"split\":\"valid\",\"scope\":\"validation\",\"metrics\":{{\"{metric}\":{value}}}}}\n"
        ));
    }
    fs::write(run.join("metrics.jsonl"), text).unwrap();
    fs::write(run.join("experiment.log"), "").unwrap();
}

fn json_of(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Value {
    serde_json::from_str(&stdout(&burn_ckpt(arguments))).unwrap()
}

#[test]
fn without_a_metric_the_primary_one_is_drawn_of_training_and_validation() {
    let (_root, run) = trained(3);
    let text = stdout(&burn_ckpt(&[&"plot", &run]));
    assert!(text.contains("train_loss") && text.contains("val_loss") && text.contains("best"), "{text}");
    // A pipe: no colours, 80 columns, and symbols that tell two curves apart.
    assert!(!text.contains('\u{1b}') && text.contains('*') && text.contains('+'), "{text}");
    assert!(widest(&text) <= 80 && text.lines().count() <= 24, "{text}");
}

#[test]
fn in_a_pipe_no_text_is_cut_and_no_curve_hides_another() {
    let root = tempfile::tempdir().unwrap();
    let long = format!("val_{}", "x".repeat(90));
    let runs: Vec<PathBuf> = ["one", "two"].map(|name| root.path().join(name)).into();
    runs.iter().for_each(|run| logged(run, &long, &["1", "2", "3"]));
    let text = stdout(&burn_ckpt(&[&"plot", &runs[0], &runs[1], &long]));
    for run in ["one", "two"] {
        let about = text.lines().find(|line| line.contains(&format!("{run}: {long}"))).unwrap();
        assert!(about.ends_with("highest 3.000 at 30"), "{text}");
    }
    // The two curves are the same: both symbols are in the chart, beside their lines below it.
    let drawn = |symbol: char| {
        text.lines().filter(|line| line.contains(['|', '│'])).any(|line| line.contains(symbol))
    };
    assert!(drawn('*') && drawn('+'), "{text}");
}

#[test]
fn json_has_every_point_of_the_log() {
    let (_root, run) = trained(3);
    let curves = json_of(&[&"plot", &run, &"val_loss", &"--json"]);
    let mut expected = Vec::new();
    for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["scope"] == "validation" {
            let value = &line["metrics"]["val_loss"];
            expected.push(json!({ "step": line["step"], "epoch": line["epoch"], "value": value }));
        }
    }
    assert_eq!(expected.len(), 3);
    assert_eq!(
        curves,
        json!([{ "run": "r1", "metric": "val_loss", "scope": "validation", "points": expected }])
    );
    let batches = json_of(&[&"plot", &run, &"train_loss", &"--batches", &"--json"]);
    assert_eq!(
        (&batches[0]["scope"], batches[0]["points"].as_array().map(Vec::len)),
        (&json!("batch"), Some(30))
    );
}

#[test]
fn a_run_of_one_epoch_is_drawn_by_its_batches() {
    let (_root, run) = trained(1);
    let text = stdout(&burn_ckpt(&[&"plot", &run, &"train_loss"]));
    assert!(text.contains("train_loss (batches)"), "{text}");
}

#[test]
fn a_chart_fits_every_terminal() {
    let (_root, run) = trained(3);
    let run = run.display().to_string();
    for (rows, columns, wide, high) in
        [(24, 80, 80, 24), (5, 20, 20, 5), (0, 0, 80, 24), (60, 300, 300, 60), (2, 3, 3, 60)]
    {
        for metrics in [&["val_loss"][..], &["loss"]] {
            let arguments = [&["plot", &run][..], metrics].concat();
            let text = shown(rows, columns, &arguments, &[("LC_ALL", "C.UTF-8")]);
            let lines = text.lines().count();
            assert!(widest(&text) <= wide && has_dots(&text), "{columns}: {text}");
            assert!(lines < high || metrics == ["loss"], "{rows} rows: {lines}\n{text}");
        }
    }
}

#[test]
fn colours_and_dots_are_for_terminals_that_show_them() {
    let (_root, run) = trained(2);
    let run = run.display().to_string();
    let plot = |environment: &[(&str, &str)]| shown(24, 80, &["plot", &run, "loss"], environment);
    let coloured = plot(&[("LC_ALL", "C.UTF-8"), ("NO_COLOR", "")]);
    assert!(coloured.contains("\u{1b}[36m") && has_dots(&coloured), "{coloured}");
    let plain = plot(&[("LC_ALL", "C.UTF-8"), ("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}') && !has_dots(&plain) && plain.contains('*'), "{plain}");
    let ascii = plot(&[("LC_ALL", "C"), ("NO_COLOR", "")]);
    assert!(without_colors(&ascii).is_ascii() && ascii.contains("\u{1b}[36m"), "{ascii}");
}

#[test]
fn several_runs_share_a_chart_and_metrics_of_other_quantities_have_their_own() {
    let (_root, run) = trained(2);
    let copy = run.with_file_name("r2");
    copy_tree(&run, &copy);
    let text = stdout(&burn_ckpt(&[&"plot", &run, &copy, &"val_loss"]));
    assert!(text.contains("r1: val_loss") && text.contains("r2: val_loss"), "{text}");
    let curves = json_of(&[&"plot", &run, &"val_loss", &copy, &"--json"]);
    let runs: Vec<&Value> = curves.as_array().unwrap().iter().map(|curve| &curve["run"]).collect();
    assert_eq!(runs, ["r1", "r2"]);
    // Named twice, by a slash at its end, and by the directory of its checkpoints.
    let slash = run.join("");
    for other in [&run, &slash, &run.join("checkpoint")] {
        let alone = stdout(&burn_ckpt(&[&"plot", &run, &"val_loss"]));
        assert_eq!(stdout(&burn_ckpt(&[&"plot", &run, &other, &"val_loss"])), alone, "{other:?}");
        assert_eq!(stdout(&burn_ckpt(&[&"plot", &other, &"val_loss"])), alone, "{other:?}");
    }
}

#[test]
fn a_metric_that_there_is_not_is_an_error_with_those_that_are_near() {
    let (root, run) = trained(1);
    let (_, said) = ended_with(&burn_ckpt(&[&"plot", &run, &"val_los"]), 1);
    assert!(said.contains("there is no metric val_los") && said.contains("val_loss"), "{said}");
    let (_, said) = ended_with(&burn_ckpt(&[&"plot", &root.path(), &"val_loss"]), 1);
    assert!(said.contains("is not a run's directory"), "{said}");
    // What looks like a path is not called a metric.
    for path in [root.path().to_path_buf(), root.path().join("missing"), run.join("train")] {
        let (_, said) = ended_with(&burn_ckpt(&[&"plot", &run, &path]), 1);
        assert!(said.contains("is neither a run's directory nor a metric"), "{said}");
        assert!(!said.contains("there is no metric"), "{said}");
    }
    let unranked = root.path().join("logs/unranked");
    logged(&unranked, "score", &["1"]);
    let (_, said) = ended_with(&burn_ckpt(&[&"plot", &unranked]), 2);
    assert!(said.contains("name a metric"), "{said}");
    fs::write(unranked.join("metrics.jsonl"), "").unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"plot", &unranked, &"score"]), 1);
    assert!(said.contains("nothing has been logged yet"), "{said}");
}

#[test]
fn odd_values_are_drawn_or_said() {
    let root = tempfile::tempdir().unwrap();
    let plot = |values: &[&str], more: &[&str]| {
        let run = root.path().join("r");
        logged(&run, "val_\u{9b}2Jloss", values);
        let mut command = burn_ckpt_command();
        command.arg("plot").arg(&run).arg("val_\u{9b}2Jloss").args(more).env("LC_ALL", "C");
        let text = stdout(&command.output().unwrap());
        // Text of a log does not reach the terminal as it is.
        assert!(!text.contains('\u{9b}'), "{text:?}");
        text
    };
    let stars = |text: &str| text.matches('*').count() - 1;
    assert_eq!(stars(&plot(&["0.5"], &[])), 1);
    // A constant is a line across the chart.
    let constant = plot(&["0.5", "0.5"], &[]);
    assert!(stars(&constant) > 60, "{constant}");
    let gap = plot(&["1", "\"NaN\"", "\"inf\"", "2"], &[]);
    assert!(stars(&gap) == 2 && gap.contains("2 not finite"), "{gap}");
    let nothing = plot(&["\"NaN\"", "\"-inf\""], &[]);
    assert!(nothing.contains("2 not finite") && nothing.lines().count() == 1, "{nothing}");
    let (_, said) = ended_with(&burn_ckpt(&[&"plot", &root.path().join("r"), &"val_\u{9b}2Jloss"]), 0);
    assert!(said.contains("loss is not drawn: none of its values is finite"), "{said}");
    let far = plot(&["1.7e308", "-1.7e308"], &[]);
    assert!(stars(&far) > 10 && far.contains("1.700e308"), "{far}");
    let logarithms = plot(&["0", "1e-9", "1", "1e9"], &["--log"]);
    assert!(logarithms.contains("1 without a logarithm") && logarithms.contains("1.000e-9"), "{logarithms}");
}

#[test]
fn a_narrow_range_has_the_digits_that_tell_its_numbers_apart() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("r");
    logged(&run, "val_loss", &["100000.1", "100000.4", "100000.2"]);
    let text = stdout(&burn_ckpt(&[&"plot", &run, &"val_loss"]));
    let numbers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(['|', '│']))
        .map(|(number, _)| number.trim())
        .filter(|number| !number.is_empty())
        .collect();
    assert_eq!(numbers, ["100000.40", "100000.10"], "{text}");
    let about = "last 100000.20, lowest 100000.10 at 10, highest 100000.40 at 20";
    assert!(text.contains(about), "{text}");
}

#[test]
fn a_narrow_chart_keeps_the_numbers_apart_from_what_they_are_of() {
    let (_root, run) = trained(3);
    let run = run.display().to_string();
    for columns in [80, 40, 30, 24, 20] {
        let text = without_colors(&shown(24, columns, &["plot", &run, "val_loss"], &[("LC_ALL", "C.UTF-8")]));
        let axis = text.lines().position(|line| line.contains('└')).unwrap();
        let words: Vec<&str> = text.lines().nth(axis + 1).unwrap().split_whitespace().collect();
        let (first, last) = (words[0], words[words.len() - 1]);
        assert!(first == "10" && last == "30", "{columns}: {text}");
        assert!(words.len() < 3 || words[1] == "step", "{columns}: {text}");
    }
}

/// Trains with a loss, and with a score whose value after each epoch's validation is given. Keeps the
/// checkpoint of each epoch, the best by the score, and the worst by the loss.
fn train_ranked(config: TrainerConfig, scores: &[f64]) {
    let best = |metric: &str, mode| StrategyConfig::Best(Best::new().with_metric(metric).with_mode(mode));
    let config = config.with_primary_metric("val_score").with_strategies([
        best("val_loss", MetricMode::Max),
        best("val_score", MetricMode::Min),
        StrategyConfig::Last(Last::new().with_topk(TopK::All)),
    ]);
    let score = ScriptedMetric::new("Score", scores);
    let with_metrics = |training: SupervisedTraining<Model>| {
        training.metrics((LossMetric::new(),)).metric_valid_numeric(score)
    };
    train_with(config, Script::default(), with_metrics).unwrap();
}

/// The axis below a chart, as symbols.
fn axis(run: &Path, metric: &str) -> String {
    let mut command = burn_ckpt_command();
    let text = stdout(&command.arg("plot").arg(run).arg(metric).env("LC_ALL", "C").output().unwrap());
    text.lines().find_map(|line| line.trim_start().strip_prefix('+')).unwrap().to_owned()
}

fn places(axis: &str, mark: char) -> Vec<usize> {
    axis.match_indices(mark).map(|(place, _)| place).collect()
}

#[test]
fn of_two_metrics_that_rank_checkpoints_the_best_by_the_primary_one_is_marked() {
    let root = tempfile::tempdir().unwrap();
    train_ranked(config(root.path(), 3), &[3.0, 1.0, 2.0]);
    let linked = |name: &str| fs::canonicalize(checkpoints(root.path()).join(name)).unwrap();
    assert!(linked("best_val_score.ckpt").ends_with("epoch=1-step=20.ckpt"));
    assert!(!linked("best_val_loss.ckpt").ends_with("epoch=1-step=20.ckpt"));
    for metric in ["val_loss", "val_score", "train_loss"] {
        let axis = axis(&run_dir(root.path()), metric);
        // In the middle of 10 and 30.
        assert_eq!(places(&axis, '^'), [axis.len() / 2], "{metric}: {axis}");
        assert_eq!(places(&axis, '\''), [0, axis.len() - 1], "{metric}: {axis}");
    }
}

#[test]
fn a_part_that_was_trained_again_is_not_marked_on_any_curve() {
    let root = tempfile::tempdir().unwrap();
    train_ranked(config(root.path(), 4), &[5.0, 4.0, 1.0, 3.0]);
    let first = checkpoints(root.path()).join("last/epoch=1-step=20.ckpt");
    let again = config(root.path(), 4).with_ckpt_path(first.to_str().unwrap()).with_max_steps(35);
    train_ranked(again, &[2.0, 6.0]);
    for metric in ["val_loss", "train_loss"] {
        let axis = axis(&run_dir(root.path()), metric);
        // Not the one at 30 that is still the best, and not the one at 40.
        assert_eq!(places(&axis, '^'), [0; 0], "{metric}: {axis}");
        assert_eq!(places(&axis, '\'').len(), 3, "{metric}: {axis}");
    }
}
