//! `burn-ckpt cp`: a copy has all files of a checkpoint, is verified, and replaces nothing unless it is told
//! to.

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Checkpoint, Metadata};
use serde_json::Value;
use system_tests::models::small::train_within;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, sha256sum, stdout};
use system_tests::run_files::{checkpoints, files, last_tensor_byte, metadata};
use system_tests::storage_faults::errors::EIO;
use system_tests::storage_faults::{FailingCall, FailingCalls};
use system_tests::{config, train};

fn copy(from: &Path, to: &Path) -> Value {
    serde_json::from_str(&stdout(&burn_ckpt(&[&"cp", &from, &to, &"--json"]))).unwrap()
}

fn trained() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    (root, directory)
}

#[test]
fn a_copy_of_a_link_is_the_checkpoint_with_its_metadata_and_loads_alone() {
    let (root, directory) = trained();
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let original = fs::canonicalize(directory.join("best_val_loss.ckpt")).unwrap();
    for (from, name) in [
        (directory.join("best_val_loss.ckpt"), "kept.ckpt"),
        (directory.join("last.ckpt"), "epoch=0-step=10.ckpt"),
        (directory.join("../best"), "new/also.ckpt"),
    ] {
        let to = elsewhere.join(name);
        // Where a directory is named, the name stays.
        let wanted = if name.starts_with("epoch") { elsewhere.clone() } else { to.clone() };
        let said = copy(&from, &wanted);
        assert!(!to.is_symlink() && fs::read(&to).unwrap() == fs::read(&original).unwrap(), "{name}");
        let digest = format!("sha256:{}", sha256sum(&to).unwrap());
        let described = metadata(&to);
        assert_eq!(
            (&said["checkpoint_checksum"], &described["checkpoint_checksum"]),
            (&digest.clone().into(), &digest.into())
        );
        assert_eq!(described["checkpoint_path"], to.file_name().unwrap().to_str().unwrap());
        assert_eq!((&said["path"], &said["files"]), (&to.to_str().unwrap().into(), &1.into()));
        assert_eq!(Checkpoint::open(&to).unwrap().verify().unwrap().run_id, "r1");
    }
    // A name that ends as a directory's is one, also of one that is not there yet.
    stdout(&burn_ckpt(&[&"cp", &directory.join("last.ckpt"), &format!("{}/models/", root.path().display())]));
    assert!(root.path().join("models/epoch=0-step=10.ckpt").exists());
    // A copy does not share its bytes with the original.
    fs::OpenOptions::new().append(true).open(&original).unwrap().set_len(10).unwrap();
    Checkpoint::open(elsewhere.join("kept.ckpt")).unwrap().verify().unwrap();
    assert_eq!(files(&elsewhere).len(), 6, "{:?}", files(&elsewhere));
}

#[test]
fn nothing_is_replaced_unless_it_is_asked_for() {
    let (root, directory) = trained();
    let last = directory.join("last.ckpt");
    let to = root.path().join("kept.ckpt");
    for there in [to.clone(), root.path().join("kept.ckpt.metadata.json")] {
        fs::write(&there, "mine").unwrap();
        let (out, err) = ended_with(&burn_ckpt(&[&"cp", &last, &to]), 1);
        assert!(out.is_empty() && err.contains(" exists: ") && err.contains("--force"), "{err}");
        assert_eq!(fs::read(&there).unwrap(), b"mine");
        fs::remove_file(&there).unwrap();
    }
    fs::write(&to, "mine").unwrap();
    let text = stdout(&burn_ckpt(&[&"cp", &last, &to, &"--force"]));
    assert!(text.contains("kept.ckpt: step 10, ") && text.contains(", verified, sha256:"), "{text}");
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &last, &fs::canonicalize(&last).unwrap()]), 1);
    assert!(err.contains("is the checkpoint itself"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &last, &root.path().join("missing")]), 2);
    assert!(err.contains("ends in .ckpt"), "{err}");
    let link = root.path().join("link.ckpt");
    std::os::unix::fs::symlink(&to, &link).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &last, &link, &"--force"]), 1);
    assert!(err.contains("is a link and is not replaced"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &root.path().join("gone.ckpt"), &to, &"--force"]), 1);
    assert!(err.contains("gone.ckpt"), "{err}");
    Checkpoint::open(&to).unwrap().verify().unwrap();
}

#[test]
fn a_damaged_checkpoint_leaves_no_copy_and_takes_no_place() {
    let (root, directory) = trained();
    let last = fs::canonicalize(directory.join("last.ckpt")).unwrap();
    let whole = root.path().join("whole.ckpt");
    copy(&last, &whole);
    let mut bytes = fs::read(&last).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    fs::write(&last, bytes).unwrap();
    let to = root.path().join("copy.ckpt");
    let evaluation = root.path().join("copy.ckpt.evaluation.json");
    fs::write(&evaluation, "mine").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"cp", &last, &to]), 1);
    assert!(out.is_empty() && err.contains("the copy of ") && err.contains("it is removed"), "{err}");
    assert!(!to.exists() && !root.path().join("copy.ckpt.metadata.json").exists());
    assert_eq!(fs::read(&evaluation).unwrap(), b"mine");
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &last, &whole, &"--force"]), 1);
    assert!(!err.contains("removed"), "{err}");
    Checkpoint::open(&whole).unwrap().verify().unwrap();
}

#[test]
fn a_checkpoint_of_several_files_is_copied_with_all_of_them() {
    let root = tempfile::tempdir().unwrap();
    // As the limits of a file, with which the tests of such checkpoints divide this small state.
    let limits = Limits { tensors: 12, ..Limits::READER };
    train_within(config(root.path(), 1), limits).unwrap();
    let last = fs::canonicalize(checkpoints(root.path()).join("last.ckpt")).unwrap();
    let shards = Metadata::of_checkpoint(&last).unwrap().shards.len();
    assert!(shards > 1);
    let to = root.path().join("kept.ckpt");
    let said = copy(&last, &to);
    assert_eq!(said["files"], shards + 1);
    for number in 1..=shards {
        let name = format!("state-{number:05}-of-{shards:05}.ckpt");
        let [from, to] = [&last, &to]
            .map(|checkpoint| sha256sum(&checkpoint.with_extension("shards").join(&name)).unwrap());
        assert_eq!(from, to, "{name}");
    }
    fs::remove_dir_all(last.with_extension("shards")).unwrap();
    Checkpoint::open(&to).unwrap().verify().unwrap();
    // One of several files replaces another of several, and is not in its way for long.
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &to, &root.path().join("again.ckpt")]), 0);
    assert_eq!(err, "");
    let again = root.path().join("again.ckpt");
    let before = Metadata::of_checkpoint(&again).unwrap().checkpoint_checksum;
    let another = tempfile::tempdir().unwrap();
    train_within(config(another.path(), 2), Limits { tensors: 12, ..Limits::READER }).unwrap();
    let newer = checkpoints(another.path()).join("last.ckpt");
    // The name that it has for that moment is not taken from a user.
    let mine = root.path().join("again-replaced.ckpt");
    copy(&again, &mine);
    let (_, err) = ended_with(&burn_ckpt(&[&"cp", &newer, &again, &"--force"]), 1);
    assert!(err.contains("again-replaced.ckpt") && err.contains("move that checkpoint away"), "{err}");
    for whole in [&mine, &again] {
        let verified = Checkpoint::open(whole).unwrap().verify().unwrap();
        assert_eq!(verified.checkpoint_checksum, before);
    }
    for name in files(root.path()).into_iter().filter(|name| name.contains("again-replaced")) {
        fs::remove_file(root.path().join(name)).unwrap();
    }
    fs::remove_dir(mine.with_extension("shards")).unwrap();
    ended_with(&burn_ckpt(&[&"cp", &newer, &again, &"--force"]), 0);
    let replaced = Checkpoint::open(&again).unwrap().verify().unwrap();
    assert!(replaced.checkpoint_checksum != before && replaced.global_step == 20);
    assert!(files(root.path()).iter().all(|name| !name.contains("-replaced")), "{:?}", files(root.path()));
    // Shards without their file are not known to be a checkpoint's, and nothing is read before that is said.
    fs::remove_file(&again).unwrap();
    fs::remove_file(root.path().join("again.ckpt.metadata.json")).unwrap();
    for force in [&[][..], &["--force"]] {
        let mut command = burn_ckpt_command();
        command.arg("cp").arg(&to).arg(&again).args(force);
        let (_, err) = ended_with(&command.output().unwrap(), 1);
        assert!(err.contains("again.shards"), "{err}");
        assert!(!again.exists() && !files(root.path()).iter().any(|name| name.contains("staging")));
    }
}

#[test]
fn what_a_copy_leaves_unfinished_is_named_by_it_and_by_the_next_one() {
    let calls = FailingCalls::compile();
    let (root, directory) = trained();
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let staged = |name: &str| {
        let begin = format!(".{name}.0-");
        let found = files(&elsewhere).into_iter().filter(|file| file.starts_with(&begin));
        found.collect::<Vec<String>>()
    };
    let copied = |failing: FailingCall<'_>| {
        let mut command = burn_ckpt_command();
        command.arg("cp").arg(directory.join("last.ckpt")).arg(elsewhere.join("kept.ckpt")).arg("--force");
        calls.apply(&mut command, &elsewhere, failing);
        command.output().unwrap()
    };
    // With a new name, the file has two until that of the unfinished one is removed.
    let mut command = burn_ckpt_command();
    command.arg("cp").arg(directory.join("last.ckpt")).arg(elsewhere.join("kept.ckpt"));
    calls.apply(&mut command, &elsewhere, FailingCall { call: "remove", at: 2, errno: EIO });
    let (_, said) = ended_with(&command.output().unwrap(), 0);
    let [left] = &staged("kept.ckpt")[..] else { panic!("{:?}", files(&elsewhere)) };
    let named: Vec<&str> = said.lines().filter(|line| line.contains(left)).collect();
    let [line] = named[..] else { panic!("{said}") };
    assert!(line.starts_with("warning: ") && line.contains("cannot be removed"), "{line}");
    fs::remove_file(elsewhere.join(left)).unwrap();
    // The process ends in the middle of a copy.
    let killed = copied(FailingCall { call: "rename", at: 1, errno: 0 });
    assert!(!killed.status.success());
    let [left] = &staged("kept.ckpt")[..] else { panic!("{:?}", files(&elsewhere)) };
    let (_, said) = ended_with(&copied(FailingCall { call: "rename", at: 9, errno: EIO }), 0);
    let note = format!("note: {} is of a write of ", elsewhere.join(left).display());
    assert!(said.lines().any(|line| line.starts_with(&note) && line.contains("was killed")), "{said}");
    assert!(elsewhere.join(left).exists(), "another process may write it");
    Checkpoint::open(elsewhere.join("kept.ckpt")).unwrap().verify().unwrap();
}
