//! Finding runs again: tags and notes in the metadata, durations in names, and a directory of runs that git
//! ignores.

use std::path::Path;
use std::process::Command;

use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::config;
use system_tests::models::small::{Script, train, train_scripted};
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout, train_example};
use system_tests::run_files::{checkpoints, metadata, stems};

const LOGS: &str = "burn_trainer_logs";

#[test]
fn tags_and_notes_are_in_the_metadata_and_ls_finds_runs_by_tag() {
    let root = tempfile::tempdir().unwrap();
    let run = |id: &str, tags: &str| {
        let (tags, notes) = (format!("tags={tags}"), "notes=before the new data");
        let set = ["--run-id", id, "--epochs", "1", "--set", &tags, "--set", notes];
        stdout(&train_example(root.path(), &set));
    };
    run("r1", r#"["baseline", "lr sweep"]"#);
    run("r2", r#"["lr sweep"]"#);
    let config = &metadata(&checkpoints(root.path()).join("last.ckpt"))["trainer_config"];
    assert_eq!(config["tags"], serde_json::json!(["baseline", "lr sweep"]));
    assert_eq!(config["notes"], "before the new data");

    let logs = root.path().join(LOGS);
    let runs = |tags: &[&str]| {
        let mut arguments = vec!["ls".to_owned(), logs.display().to_string(), "--json".to_owned()];
        tags.iter().for_each(|tag| arguments.extend(["--tag".to_owned(), (*tag).to_owned()]));
        let words: Vec<&dyn AsRef<std::ffi::OsStr>> = arguments.iter().map(|it| it as _).collect();
        let listed: serde_json::Value = serde_json::from_str(&stdout(&burn_ckpt(&words))).unwrap();
        let names = listed.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), listed[0]["checkpoints"][0]["tags"].clone())
    };
    assert_eq!(runs(&["baseline"]), (vec!["r1".to_owned()], serde_json::json!(["baseline", "lr sweep"])));
    assert_eq!(runs(&["lr sweep"]).0, ["r1", "r2"]);
    assert_eq!(runs(&["lr sweep", "baseline"]).0, ["r1"]);
    let (_, said) = ended_with(&burn_ckpt(&[&"ls", &logs, &"--tag", &"basline"]), 1);
    assert!(said.contains("no checkpoint has the tag basline; the tags are baseline, lr sweep"), "{said}");
}

#[test]
fn a_file_name_can_have_the_training_time() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_filename("{duration}-{step}");
    train(config(root.path(), 1).with_strategies([StrategyConfig::Last(last)])).unwrap();
    let [stem] = &stems(&checkpoints(root.path()).join("last"))[..] else { panic!() };
    assert!(stem.starts_with("00h0") && stem.ends_with("s-10"), "{stem}");
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    stdout(&Command::new("git").args(arguments).current_dir(directory).output().unwrap())
}

#[test]
fn git_ignores_the_directory_of_runs_that_a_run_has_made_and_the_file_is_written_once() {
    let root = tempfile::tempdir().unwrap();
    git(root.path(), &["init", "--quiet"]);
    train(config(root.path(), 1)).unwrap();
    assert_eq!(git(root.path(), &["status", "--porcelain"]), "");
    let file = root.path().join(LOGS).join(".gitignore");
    assert!(file.is_file());

    // What the user makes of it stays.
    std::fs::write(&file, "/r1/checkpoint\n").unwrap();
    train(config(root.path(), 1).with_run_id("r2")).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "/r1/checkpoint\n");
    std::fs::remove_file(&file).unwrap();
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    assert!(!file.exists());

    // Nor is one written into a directory that was there.
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join(LOGS)).unwrap();
    train(config(root.path(), 1)).unwrap();
    assert!(!root.path().join(LOGS).join(".gitignore").exists());
}

#[test]
fn a_start_that_fails_leaves_no_directory_with_such_a_file() {
    let root = tempfile::tempdir().unwrap();
    let unknown = config(root.path(), 1).with_primary_metric("val_nothing");
    assert!(train_scripted(unknown, Script::default()).is_err());
    assert!(!root.path().join(LOGS).exists());
}
