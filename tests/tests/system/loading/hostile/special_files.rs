//! Something else than a file in each place where a file of a run is read: each verb ends, with a status of
//! its own, and within seconds.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn_ckpt::Checkpoint;
use system_tests::programs::commands::burn_ckpt_command;
use system_tests::run_files::{checkpoints, in_memory};
use system_tests::{config, train};

const LONGEST: Duration = Duration::from_mins(2);
pub(super) const KINDS: [&str; 8] =
    ["pipe", "directory", "loop of links", "device", "socket", "empty file", "sparse terabyte", "nothing"];

pub(super) fn put(kind: &str, path: &Path) {
    match kind {
        "pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "directory" => std::fs::create_dir(path).unwrap(),
        "loop of links" => symlink(path, path).unwrap(),
        "device" => symlink("/dev/zero", path).unwrap(),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "empty file" => std::fs::write(path, "").unwrap(),
        "sparse terabyte" => std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
        _ => {}
    }
}

/// The exit status, or `None` after a signal or the time limit.
fn status(verb: &[&str], paths: &[&Path]) -> Option<i32> {
    let mut command = burn_ckpt_command();
    command.args(verb).args(paths).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begin.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_verb_ends_whatever_is_in_a_files_place() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let whole = in_memory();
    train(config(whole.path(), 1)).unwrap();
    let other = checkpoints(whole.path()).join("last.ckpt");
    for kind in KINDS {
        for place in ["checkpoint", "metadata", "link", "link's metadata", "directory"] {
            let root = in_memory();
            let copied = Command::new("cp").arg("-a").arg(whole.path().join(".")).arg(root.path()).status();
            assert!(copied.unwrap().success());
            let directory = checkpoints(root.path());
            let file = directory.join("last/epoch=0-step=10.ckpt");
            let link = directory.join("last.ckpt");
            let metadata = system_tests::run_files::metadata_path;
            let replaced: PathBuf = match place {
                "checkpoint" => file.clone(),
                "metadata" => metadata(&file),
                "link" => link.clone(),
                "link's metadata" => metadata(&link),
                _ => directory.clone(),
            };
            match place {
                "directory" => std::fs::remove_dir_all(&replaced).unwrap(),
                _ => std::fs::remove_file(&replaced).unwrap(),
            }
            put(kind, &replaced);
            let run = directory.parent().unwrap();
            let (out, imported) = (root.path().join("out.safetensors"), root.path().join("imported.ckpt"));
            for (verb, paths) in [
                (&["ls"][..], &[run][..]),
                (&["show"], &[&file]),
                (&["show"], &[&link]),
                (&["verify"], &[&file]),
                (&["verify"], &[run]),
                (&["diff"], &[&link, &other]),
                (&["export"], &[&file, &out]),
                (&["import"], &[&file, &imported]),
                (&["prune", "--keep=last=1"], &[run]),
            ] {
                match status(verb, paths) {
                    Some(code @ 0..=1) => {
                        *counts.entry(format!("{}: status {code}", verb[0])).or_default() += 1
                    }
                    other => failed.push(format!("{} with a {kind} as {place}: {other:?}", verb.join(" "))),
                }
            }
            let begin = Instant::now();
            for path in [&file, &link] {
                let opened = Checkpoint::open(path).and_then(|checkpoint| checkpoint.verify());
                *counts.entry(format!("open and verify: {}", opened.is_ok())).or_default() += 1;
            }
            assert!(begin.elapsed() < LONGEST, "opening with a {kind} as {place}: {:?}", begin.elapsed());
        }
    }
    println!("{counts:#?}");
    assert!(failed.is_empty(), "{failed:#?}");
}
