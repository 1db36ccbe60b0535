//! Links, pipes and directories in the places of a run's metric files and of burn's log: training names them,
//! and passes them by.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::programs::test_alone::run_alone;
use system_tests::run_files::run_dir;
use system_tests::{config, train};

/// What is in the place of a file.
type Plant = fn(&Path);

fn link_to_precious(path: &Path) {
    symlink(precious(path), path).unwrap();
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn directory(path: &Path) {
    fs::create_dir(path).unwrap();
}

/// The user's file that links lead to, in the root of the run.
fn precious(path: &Path) -> std::path::PathBuf {
    let root = path.ancestors().find(|path| path.ends_with("burn_trainer_logs")).unwrap().parent().unwrap();
    root.join("precious")
}

fn run_with(plant: Plant, name: &str) -> Ended {
    let root = tempfile::tempdir().unwrap();
    let path = run_dir(root.path()).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(precious(&path), "mine").unwrap();
    plant(&path);
    let before = fs::symlink_metadata(&path).unwrap().file_type();
    let ended = Running::start(warmup(root.path(), "--run-id r1 --epochs 2")).end_well();
    assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before, "{name}");
    assert_eq!(fs::read_to_string(precious(&path)).unwrap(), "mine", "{name}");
    ended
}

#[test]
fn what_is_in_the_place_of_a_metric_file_stays_and_is_named() {
    for (plant, what) in
        [(link_to_precious as Plant, "a symbolic link"), (pipe, "a pipe"), (directory, "a directory")]
    {
        let ended = run_with(plant, "train/epoch-1/Loss.log");
        assert!(ended.stderr.contains("train/epoch-1/Loss.log cannot be written: "), "{ended:?}");
        assert!(ended.stderr.contains(what), "{ended:?}");
        let end = "metric files are incomplete, as they could not be written: ";
        assert_eq!(ended.stderr.matches(end).count(), 1, "{ended:?}");
    }
}

#[test]
fn what_is_in_the_place_of_a_directory_of_metric_files_stays_and_is_named() {
    let ended = run_with(link_to_precious, "valid/epoch-1");
    assert!(ended.stderr.contains("valid/epoch-1 is a symbolic link"), "{ended:?}");
    let ended = run_with(pipe, "train/epoch-2");
    assert!(ended.stderr.contains("train/epoch-2 is a pipe"), "{ended:?}");
}

#[test]
fn what_is_in_the_place_of_burns_log_stays_and_training_has_no_log() {
    for (plant, what) in
        [(link_to_precious as Plant, "a symbolic link"), (pipe, "a pipe"), (directory, "a directory")]
    {
        let ended = run_with(plant, "experiment.log");
        assert!(ended.stderr.contains("experiment.log cannot be written: "), "{ended:?}");
        assert!(ended.stderr.contains(what), "{ended:?}");
        assert!(ended.stderr.contains("Training continues without it"), "{ended:?}");
    }
}

/// Puts a link to the user's file in the place of the log, as soon as that is open.
struct PlantsALink;

impl Observer for PlantsALink {
    fn before(&self, _: &Operation<'_>) -> Verdict {
        Verdict::Proceed
    }

    fn after(&self, operation: &Operation<'_>) {
        if let Operation::Open(path, _) | Operation::CreateFile(path, _) = operation
            && path.ends_with("experiment.log")
        {
            fs::remove_file(path).unwrap();
            link_to_precious(path);
        }
    }
}

#[test]
fn a_link_that_comes_in_the_place_of_burns_log_when_it_is_open_is_not_written_to() {
    const ROOT: &str = "SYSTEM_TESTS_LOG_WITH_LINK";
    let Some(root) = std::env::var_os(ROOT) else {
        let root = tempfile::tempdir().unwrap();
        let test = "a_link_that_comes_in_the_place_of_burns_log_when_it_is_open_is_not_written_to";
        // A process has one log.
        return run_alone(module_path!(), test, ROOT, root.path());
    };
    let root = Path::new(&root);
    let log = run_dir(root).join("experiment.log");
    fs::write(precious(&log), "mine").unwrap();
    let observation = observe(root, Arc::new(PlantsALink));
    train(config(root, 1)).unwrap();
    drop(observation);
    assert!(fs::symlink_metadata(&log).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(precious(&log)).unwrap(), "mine");
}

#[test]
fn a_file_of_which_burns_log_is_another_name_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let log = run_dir(root.path()).join("experiment.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(precious(&log), "mine\n").unwrap();
    fs::hard_link(precious(&log), &log).unwrap();
    let ended = Running::start(warmup(root.path(), "--run-id r1 --epochs 1")).end_well();
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
    assert_eq!(fs::read_to_string(precious(&log)).unwrap(), "mine\n");
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.starts_with("mine\n") && logged.lines().count() > 1, "{logged}");
}
