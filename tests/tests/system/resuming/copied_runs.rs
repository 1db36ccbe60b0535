//! Runs that were copied: links became files, were left out, or were written as text.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn_ckpt::{Checkpoint, ErrorKind, locate};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::run_files::{checkpoints, compare, run_dir};

const FLAGS: &str = "--run-id r1 --topk 3 --set learning_rate=0.02";

fn run(root: &Path, arguments: &str) -> Ended {
    Running::start(warmup(root, &format!("{FLAGS} {arguments}"))).end_well()
}

/// A run of 3 epochs, and its root.
fn trained(directory: &Path) -> PathBuf {
    let root = directory.join("whole");
    run(&root, "--epochs 3");
    root
}

/// A copy of a run by `cp` with these flags.
fn copied(root: &Path, to: &Path, flags: &str) -> PathBuf {
    let copy = to.to_path_buf();
    fs::create_dir_all(copy.join("burn_trainer_logs")).unwrap();
    let mut cp = Command::new("cp");
    assert!(cp.arg(flags).arg(run_dir(root)).arg(run_dir(&copy)).status().unwrap().success());
    copy
}

fn links(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkpoints(root)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.is_dir()).collect()
}

#[test]
fn a_run_whose_links_became_files_resumes_by_every_name_and_ends_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let root = trained(directory.path());
    let copies = ["auto", "last", "best", "run/last", "run/last.ckpt"];
    let copies =
        copies.map(|name| (name, copied(&root, &directory.path().join(name.replace('/', "-")), "-rL")));
    run(&root, "--epochs 5 --ckpt-path auto");
    for (name, copy) in copies {
        let is_file = |link: &PathBuf| link.is_file() && !link.is_symlink();
        assert!(links(&copy).iter().all(is_file), "{name}");
        let named = match name {
            "run/last" => run_dir(&copy).join("last"),
            "run/last.ckpt" => checkpoints(&copy).join("last.ckpt"),
            name => PathBuf::from(name),
        };
        let resumed = run(&copy, &format!("--epochs 5 --ckpt-path {}", named.display()));
        assert!(resumed.stderr.contains("resuming r1 from "), "{name}: {resumed:?}");
        compare(&run_dir(&root), &run_dir(&copy)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    }
}

#[test]
fn without_links_last_and_best_are_what_the_checkpoints_say_of_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let root = trained(directory.path());
    let copy = copied(&root, &directory.path().join("copy"), "-r");
    let there = ["last", "best", "best_val_loss"];
    let target = |name: &str| fs::canonicalize(locate(run_dir(&root).join(name)).unwrap()).unwrap();
    let in_copy = |path: PathBuf| run_dir(&copy).join(path.strip_prefix(run_dir(&root)).unwrap());
    let expected = there.map(|name| in_copy(target(name)));
    links(&copy).iter().for_each(|link| fs::remove_file(link).unwrap());
    assert_eq!(fs::read_dir(checkpoints(&copy).join("best")).unwrap().count(), 6, "three best ones");
    for (name, expected) in there.iter().zip(&expected) {
        assert_eq!(locate(run_dir(&copy).join(name)).unwrap(), *expected, "{name}");
        let output = burn_ckpt(&[&"verify", &run_dir(&copy).join(name)]);
        ended_with(&output, 0);
    }
    for name in ["last", "best"] {
        let copy = copied(&copy, &directory.path().join(format!("to-{name}")), "-r");
        let resumed = run(&copy, &format!("--epochs 5 --ckpt-path {name}"));
        assert!(resumed.stdout.contains("steps 150"), "{resumed:?}");
        assert_eq!(links(&copy).len(), 4, "the links are there again");
    }
    let missing = locate(run_dir(&copy).join("best_val_accuracy")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_text_in_place_of_a_checkpoint_is_told_apart_and_the_error_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last.ckpt");
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (text, says) in [
        ("best/epoch=1-step=60.ckpt", "best/epoch=1-step=60.ckpt"),
        ("best/epoch=1-step=60.ckpt\n", "a link that was written as text"),
        (lfs, "git lfs pull"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotACheckpoint, "{text:?}");
        assert!(error.to_string().contains(says), "{says:?} is not in {error}");
    }
    // In a run, also where `auto` looks for a checkpoint.
    let pointers = trained(&directory.path().join("pointers"));
    for file in ["last/epoch=2-step=90.ckpt", "best/epoch=2-step=90.ckpt"] {
        let path = checkpoints(&pointers).join(file);
        if path.exists() {
            fs::remove_file(&path).unwrap();
            fs::write(&path, lfs).unwrap();
        }
    }
    let skipped = run(&pointers, "--epochs 3 --ckpt-path auto");
    assert!(
        skipped.stderr.contains("git lfs pull") && skipped.stderr.contains("resuming r1 from best/"),
        "{skipped:?}"
    );
    // The metadata alone, as where Git keeps checkpoints elsewhere.
    let root = trained(directory.path());
    let metadata = checkpoints(&root).join("last/epoch=2-step=90.ckpt.metadata.json");
    fs::remove_file(&metadata).unwrap();
    for (text, says) in
        [("../best/epoch=2-step=90.ckpt.metadata.json", "written as text"), (lfs, "git lfs pull")]
    {
        fs::write(&metadata, text).unwrap();
        // The checkpoint needs no other file.
        let (stdout, stderr) = ended_with(&burn_ckpt(&[&"verify", &checkpoints(&root).join("last.ckpt")]), 0);
        assert!(stdout.starts_with("verified  ") && stderr.contains(says), "{says:?} is not in {stderr}");
    }
}

#[test]
fn a_link_to_nothing_does_not_hide_the_checkpoint_that_was_saved_as_last() {
    let directory = tempfile::tempdir().unwrap();
    let root = trained(directory.path());
    let last = checkpoints(&root).join("last.ckpt");
    let expected = fs::canonicalize(&last).unwrap();
    fs::remove_file(&last).unwrap();
    symlink("last/gone.ckpt", &last).unwrap();
    assert_eq!(fs::canonicalize(locate(run_dir(&root).join("last")).unwrap()).unwrap(), expected);
}
