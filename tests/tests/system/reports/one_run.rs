//! What a page says of one run is what the other verbs say, and the commands that it offers work.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn_trainer::callbacks::{GradientGuard, NonFinite};
use serde_json::{Value, json};
use system_tests::models::small::{Poison, Script, train_by};
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::run_dir;
use system_tests::{config, train};

use super::page::report;

/// What the page of a run says of it.
fn shown(root: &Path, run: &Path) -> Value {
    browser::ask(&report(root, &[run]), "async () => (await readData()).runs[0]")
}

/// The commands that a page offers, by their titles.
fn commands(run: &Value) -> Vec<(String, String)> {
    serde_json::from_value(run["commands"].clone()).unwrap()
}

/// The paths of the checkpoints of which the page says this.
fn paths<'a>(run: &'a Value, is: &str) -> Vec<&'a str> {
    let rows = run["checkpoints"].as_array().unwrap().iter();
    rows.filter(|row| row[is] == true).filter_map(|row| row["path"].as_str()).collect()
}

#[test]
fn a_copy_in_which_links_are_files_has_its_best_and_last_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let copy = run.with_file_name("copy");
    assert!(Command::new("cp").arg("-rL").args([&run, &copy]).status().unwrap().success());
    assert!(!copy.join("checkpoint/last.ckpt").is_symlink());
    let (run, copy) = (shown(root.path(), &run), shown(root.path(), &copy));
    for is in ["is_best", "is_last"] {
        assert_eq!(paths(&run, is).len(), 1, "{run}");
        assert_eq!(paths(&copy, is), paths(&run, is), "{copy}");
    }
    assert_eq!(copy["best"]["score"], run["best"]["score"]);
    let is_of_best = |(_, command): &(String, String)| command.contains("copy/best");
    assert_eq!(commands(&copy).iter().filter(|command| is_of_best(command)).count(), 3, "{copy}");
}

#[test]
fn steps_after_the_newest_checkpoint_are_counted_as_not_saved() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut later = lines.into_iter().rfind(|line| line["scope"] == "epoch").unwrap();
    (later["step"], later["epoch"]) = (json!(30), json!(2));
    fs::write(run.join("metrics.jsonl"), format!("{log}{later}\n")).unwrap();
    let page = report(root.path(), &[&run]);
    let said = browser::ask(
        &page,
        "async () => {
           const [run] = (await readData()).runs;
           const facts = [...document.querySelectorAll('.facts div')].map((fact) => [...fact.children].map((part) => part.textContent));
           return { epochs: run.epochs, steps: run.global_step, facts };
         }",
    );
    let runs: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &run, &"--json"]))).unwrap();
    assert_eq!((&said["epochs"], &said["steps"]), (&runs[0]["epochs"], &runs[0]["steps"]), "{said} {runs}");
    assert_eq!((&said["epochs"], &said["steps"]), (&json!(2), &json!(20)));
    let facts: Vec<(String, String)> = serde_json::from_value(said["facts"].clone()).unwrap();
    let not_saved = facts.iter().find(|(name, _)| name == "logged, not saved");
    assert!(not_saved.is_some_and(|(_, text)| text.starts_with("1 epoch, 10 steps, ")), "{said}");
}

#[test]
fn a_run_whose_last_step_was_left_out_has_saved_all() {
    let root = tempfile::tempdir().unwrap();
    let skipping = train_by(config(root.path(), 1), Script::default(), |trainer| {
        let skip = NonFinite::Skip { most_in_a_row: 1 };
        let poisoned = trainer.callback(Poison::new(&[(0, 10)], f32::NAN));
        poisoned.callback(GradientGuard::new().with_non_finite(skip))
    });
    assert_eq!(skipping.unwrap().global_step, 9);
    let run = run_dir(root.path());
    assert_eq!(shown(root.path(), &run)["not_saved"], Value::Null);
    // A line that comes after the checkpoint is not in it.
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut later = lines.into_iter().rfind(|line| line["scope"] == "batch").unwrap();
    (later["step"], later["epoch"]) = (json!(12), json!(1));
    fs::write(run.join("metrics.jsonl"), format!("{log}{later}\n")).unwrap();
    assert_eq!(shown(root.path(), &run)["not_saved"]["steps"], 3);
}

#[test]
fn the_time_between_a_kill_and_the_next_start_is_not_training_before_that_start_has_saved_either() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut later = lines.into_iter().rfind(|line| line["scope"] == "epoch").unwrap();
    // A process that began an hour later, logged an epoch 10 seconds after that, and saved nothing.
    let ended: jiff::Timestamp = later["time"].as_str().unwrap().parse().unwrap();
    let started = ended + jiff::SignedDuration::from_hours(1);
    (later["step"], later["epoch"]) = (json!(20), json!(1));
    later["time"] = json!(started + jiff::SignedDuration::from_secs(10));
    fs::write(run.join("metrics.jsonl"), format!("{log}{later}\n")).unwrap();
    let lock = fs::File::create(run.join("run.lock")).unwrap();
    lock.set_modified(started.into()).unwrap();
    let seconds = shown(root.path(), &run)["not_saved"]["seconds"].as_f64().unwrap();
    assert!((9.0..60.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_run_that_has_saved_nothing_is_offered_no_command() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_checkpoint_saving(false)).unwrap();
    let run = shown(root.path(), &run_dir(root.path()));
    assert_eq!(run["status"]["word"], "never saved");
    assert_eq!(commands(&run), []);
    let warnings = run["warnings"].to_string();
    assert!(warnings.contains("has no checkpoint, which") && !warnings.contains("yet"), "{warnings}");
}

#[test]
fn a_run_whose_states_are_not_finite_is_not_offered_to_be_resumed() {
    let root = tempfile::tempdir().unwrap();
    let poisoned = |root| {
        train_by(config(root, 1), Script::default(), |trainer| {
            trainer.callback(Poison::new(&[(0, 1)], f32::NAN))
        })
    };
    poisoned(root.path()).unwrap();
    let run = shown(root.path(), &run_dir(root.path()));
    let titles: Vec<String> = commands(&run).into_iter().map(|(title, _)| title).collect();
    assert_eq!(titles, ["Load in Rust", "Verify", "Export to safetensors"]);
    assert_eq!(run["how_to_resume"], Value::Null);
}

#[test]
fn a_command_for_names_that_begin_as_an_option_does_works() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_run_id("-lead")).unwrap();
    let logs = root.path().join("burn_trainer_logs");
    let in_logs =
        |arguments: &[&str]| burn_ckpt_command().args(arguments).current_dir(&logs).output().unwrap();
    ended_with(&in_logs(&["report", "-o", "page.html", "--", "-lead"]), 0);
    let page = logs.join("page.html");
    let run = browser::ask(&page, "async () => (await readData()).runs[0]");
    let command = |title: &str| {
        let found = commands(&run).into_iter().find(|(name, _)| name.starts_with(title));
        found.unwrap_or_else(|| panic!("{run}")).1
    };
    assert!(run["how_to_resume"].as_str().unwrap().contains("with_run_id(\"-lead\")"), "{run}");
    let verify = command("Verify");
    let words: Vec<&str> = verify.split(' ').skip(1).collect();
    ended_with(&in_logs(&words), 0);
}
