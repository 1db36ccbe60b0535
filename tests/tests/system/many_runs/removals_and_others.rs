//! `burn-ckpt rm` where there are files of others: of users, and of other runs. They stay, and are named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::RunLock;
use burn_trainer::config::LockMode;
use burn_trainer::strategy::Last;
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::{copy_checkpoint, copy_tree, files, run_dir};
use system_tests::{config, train};

fn trained() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    (root, run)
}

/// What the program says on standard error.
fn removed(run: &Path, status: i32) -> String {
    ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), status).1
}

#[test]
fn a_directory_that_never_was_a_run_keeps_its_files() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("x");
    fs::create_dir_all(directory.join("train/epoch-1")).unwrap();
    for (name, text) in [
        ("experiment.log", "precious"),
        ("train/epoch-1/notes.log", "mine"),
        ("tags.json", "{}"),
        ("metrics.jsonl", ""),
    ] {
        fs::write(directory.join(name), text).unwrap();
        // The file that makes it look like a run's is the first.
        let before = files(&directory);
        let error = removed(&directory, 1);
        assert!(error.contains("nothing in it says so"), "{name}: {error}");
        assert_eq!(files(&directory), before, "{name}");
    }
    assert_eq!(fs::read(directory.join("experiment.log")).unwrap(), b"precious");
}

#[test]
fn a_run_that_never_saved_is_gone_with_its_log_of_metrics() {
    let (_root, run) = trained();
    fs::remove_dir_all(run.join("checkpoint")).unwrap();
    // As a process leaves it that was killed while it changed the tags.
    fs::write(run.join(".tags.json.lock"), "process 1").unwrap();
    assert_eq!(removed(&run, 0), "");
    assert!(!run.exists(), "{:?}", files(&run));
}

#[test]
fn a_users_file_with_the_name_of_the_tags_stays() {
    let (_root, run) = trained();
    fs::write(run.join("tags.json"), r#"{"my": "tags"}"#).unwrap();
    let note = removed(&run, 0);
    assert!(note.contains("stays") && note.contains("tags.json"), "{note}");
    assert_eq!(files(&run), ["tags.json"]);
}

#[test]
fn checkpoints_of_another_run_stay_and_are_named() {
    let (root, run) = trained();
    train(config(root.path(), 1).with_run_id("other")).unwrap();
    let others = run.with_file_name("other").join("checkpoint/last/epoch=0-step=10.ckpt");
    let copy = run.join("checkpoint/last/theirs.ckpt");
    copy_checkpoint(&others, &copy);
    let note = removed(&run, 0);
    assert!(note.contains("another run's id") && note.contains("checkpoint/last/theirs.ckpt"), "{note}");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&others).unwrap());
    let left = files(&run);
    assert_eq!(left, ["checkpoint/last/theirs.ckpt", "checkpoint/last/theirs.ckpt.metadata.json"]);
}

#[test]
fn nothing_is_removed_behind_a_link_into_another_runs_directory() {
    let (_root, run) = trained();
    let victim = run.with_file_name("victim");
    copy_tree(&run, &victim);
    fs::remove_dir_all(run.join("checkpoint/last")).unwrap();
    symlink("../../victim/checkpoint/last", run.join("checkpoint/last")).unwrap();
    let lock = RunLock::acquire(&victim, LockMode::Required).unwrap();
    let before = files(&victim);
    let note = removed(&run, 0);
    assert!(note.contains("victim/checkpoint/last"), "{note}");
    assert_eq!(files(&victim), before);
    drop(lock);
}

#[test]
fn a_slash_at_its_end_does_not_make_a_link_a_run() {
    let (root, run) = trained();
    symlink(&run, root.path().join("alias")).unwrap();
    let before = files(&run);
    for name in ["alias", "alias/", "alias//", "alias/.", "alias/./"] {
        let error = removed(&root.path().join(name), 1);
        assert!(error.contains("is a link to "), "{name}: {error}");
    }
    assert_eq!(files(&run), before);
}

#[test]
fn what_a_renamed_run_has_outside_stays_and_is_named() {
    let root = tempfile::tempdir().unwrap();
    let shared = root.path().join("shared");
    for run in ["r1", "r2"] {
        let last = Last::new().with_dirpath(&shared).with_filename(format!("{run}-{{epoch}}"));
        train(config(root.path(), 1).with_run_id(run).with_last(last)).unwrap();
    }
    let (run, before) = (run_dir(root.path()), files(&shared));
    let renamed = run.with_file_name("renamed");
    fs::rename(&run, &renamed).unwrap();
    let note = removed(&renamed, 0);
    assert!(note.contains("shared/r1-0.ckpt") && !note.contains("r2-0.ckpt"), "{note}");
    assert_eq!(files(&shared), before);
    assert!(!renamed.join("metrics.jsonl").exists());
}
