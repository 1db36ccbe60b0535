//! Whole runs of a mirror: copied by `cp`, removed by `rm`.

use std::fs;
use std::path::Path;

use burn_ckpt::mirror::{RunMirror, Store, Writer};
use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, ended_with, stderr, stdout};
use system_tests::run_files::{compare_after_loss, files, last_tensor_byte, run_dir};
use system_tests::{config, train};

use super::sent;

/// All files and links below a directory, and their bytes.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| fs::read(directory.join(name.split(" -> ").next().unwrap_or_default())).unwrap();
    files(directory).into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// The copy that is compared: all files of the run that a mirror has.
fn mirrored(run: &Path) -> Vec<(String, Vec<u8>)> {
    let is_mirrored = |name: &str| name.starts_with("checkpoint/") || name == "metrics.jsonl";
    contents(run).into_iter().filter(|(name, _)| is_mirrored(name)).collect()
}

#[test]
fn a_run_is_copied_with_all_that_the_mirror_has_and_a_second_copy_gets_what_is_missing() {
    let (root, run) = sent();
    let copies = root.path().join("copies");
    let (out, err) = ended_with(&burn_ckpt(&[&"cp", &run, &copies]), 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("copied   last/epoch=")).count(), 2, "{out}");
    assert!(err.contains("/copies/r1: 3 checkpoints copied, "), "{err}");
    let (copy, original) = (copies.join("r1"), run_dir(root.path()));
    let whole = mirrored(&original);
    assert!(
        whole.iter().any(|(name, _)| name == "metrics.jsonl") && whole.len() > 6,
        "{:?}",
        files(&original)
    );
    assert!(mirrored(&copy) == whole, "{:?}", files(&copy));
    assert!(!files(&copy).iter().any(|name| name.ends_with(".lock")), "{:?}", files(&copy));
    // As after a kill, and with a damaged file.
    let (first, newest) = ("checkpoint/last/epoch=0-step=10.ckpt", "checkpoint/last/epoch=1-step=20.ckpt");
    fs::remove_file(copy.join(newest)).unwrap();
    fs::remove_file(copy.join("checkpoint/last.ckpt")).unwrap();
    fs::remove_file(copy.join("metrics.jsonl")).unwrap();
    let out = stdout(&burn_ckpt(&[&"cp", &run, &copies]));
    let copied: Vec<&str> = out.lines().filter(|line| line.starts_with("copied ")).collect();
    assert!(copied.len() == 1 && copied[0].contains(&newest["checkpoint/".len()..]), "{out}");
    assert!(mirrored(&copy) == whole);
    let mut damaged = fs::read(copy.join(first)).unwrap();
    let place = last_tensor_byte(&damaged);
    damaged[place] ^= 1;
    fs::write(copy.join(first), &damaged).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"cp", &run, &copies]), 1);
    let failed =
        "failed   last/epoch=0-step=10.ckpt: another state of that name is on disk, or a damaged one";
    assert!(out.lines().any(|line| line.starts_with(failed)), "{out}");
    assert!(err.contains("0 checkpoints copied, 0 B; 2 there already, 1 not copied"), "{err}");
    assert!(fs::read(copy.join(first)).unwrap() == damaged);
    let (out, _) = ended_with(&burn_ckpt(&[&"cp", &run, &copies, &"--force", &"--json"]), 0);
    let copied: Vec<Value> = serde_json::from_str(&out).unwrap();
    let replaced: Vec<&Value> = copied.iter().filter(|row| row["was_there"] == false).collect();
    assert!(replaced.len() == 1 && replaced[0]["file"] == first["checkpoint/".len()..], "{out}");
    assert!(mirrored(&copy) == whole);
    stdout(&burn_ckpt(&[&"verify", &copy]));
}

#[test]
fn a_copied_run_resumes_to_the_bytes_of_the_undisturbed_one() {
    let (root, undisturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(undisturbed.path(), 2)).unwrap();
    train(config(root.path(), 1)).unwrap();
    let address = format!("file://{}", root.path().join("mirror").display());
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = run_dir(elsewhere.path());
    stdout(&burn_ckpt(&[&"cp", &format!("{address}/r1"), &runs.parent().unwrap()]));
    train(config(elsewhere.path(), 2).with_ckpt_path("last")).unwrap();
    // burn's files of the first epoch are in no mirror.
    let same = compare_after_loss(&run_dir(undisturbed.path()), &run_dir(elsewhere.path()), 1..=1);
    assert_eq!(same.map(|same| same.steps), Ok(20));
}

#[test]
fn a_directory_of_runs_and_another_run_on_disk_are_errors_and_nothing_is_copied() {
    let (root, run) = sent();
    let address = run.strip_suffix("/r1").unwrap();
    let copies = root.path().join("copies");
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &address, &copies]), 1);
    assert!(err.contains(&format!("a directory of runs: name one of them: {run}")), "{err}");
    assert!(!copies.exists());
    // Of the same id, and another run.
    let other = tempfile::tempdir().unwrap();
    train(config(other.path(), 1)).unwrap();
    let before = contents(other.path());
    let runs = run_dir(other.path());
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &run, &runs.parent().unwrap(), &"--force"]), 1);
    assert!(err.contains("another run"), "{err}");
    assert!(contents(other.path()) == before);
}

#[test]
fn a_removed_run_leaves_nothing_but_what_is_not_its_own() {
    let (root, run) = sent();
    let address = run.strip_suffix("/r1").unwrap();
    let mirror = root.path().join("mirror");
    train(config(root.path(), 1).with_run_id("r2")).unwrap();
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()).with_file_name("r2"), &address]));
    let others = files(&mirror.join("r2"));
    fs::write(mirror.join("r1/notes.txt"), "of a user").unwrap();
    fs::write(mirror.join("r1/checkpoint/last/epoch=9-step=9.ckpt#1"), "an upload that was killed").unwrap();
    let before = files(&mirror);
    // The tests have no terminal.
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run]), 2);
    assert!(err.contains("no terminal to ask on") && err.contains("--yes"), "{err}");
    let out = stdout(&burn_ckpt(&[&"rm", &run, &"--dry-run"]));
    assert!(out.starts_with("would remove 3 checkpoints of the run r1, "), "{out}");
    assert_eq!(files(&mirror), before);
    let (out, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 0);
    assert!(out.starts_with("removed 3 checkpoints of the run r1, "), "{out}");
    assert!(err.trim_end().ends_with(&format!("stays: {run}/notes.txt")), "{err}");
    assert_eq!(files(&mirror.join("r1")), ["notes.txt"]);
    assert_eq!(files(&mirror.join("r2")), others);
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 1);
    assert!(err.contains("is not a run: the mirror has nothing of it"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &address, &"--yes"]), 1);
    assert!(err.contains(&format!("a directory of runs: name one of them: {address}/r2")), "{err}");
    // The id is free again.
    stdout(&burn_ckpt(&[&"mirror", &run_dir(root.path()), &address]));
    assert!(stderr(&burn_ckpt(&[&"verify", &run])).contains("3 checkpoints, all verified"));
}

#[test]
fn a_run_that_another_process_writes_to_is_not_removed() {
    let (root, run) = sent();
    let mirror = root.path().join("mirror");
    let store = Store::connect(&run.strip_suffix("/r1").unwrap().parse().unwrap()).unwrap();
    let writer = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    let before = contents(&mirror);
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 1);
    assert!(err.contains("process "), "{err}");
    assert!(contents(&mirror) == before);
    writer.close().unwrap();
    stdout(&burn_ckpt(&[&"rm", &run, &"--yes"]));
    assert!(fs::read_dir(&mirror).unwrap().next().is_none(), "{:?}", files(&mirror));
}
