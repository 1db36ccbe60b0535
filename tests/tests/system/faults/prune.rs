//! Each file operation of `burn-ckpt prune` fails, or the program ends there: what the rule keeps is not
//! touched, no link leads nowhere, and a second prune completes the first.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use system_tests::programs::commands::burn_ckpt_command;
use system_tests::random::SplitMix64;
use system_tests::run_files::{checkpoints, files, in_memory, run_dir};
use system_tests::storage_faults::errors::{EACCES, EIO};
use system_tests::storage_faults::{FailingCall, FailingCalls};
use system_tests::train_and_keep_all;

use super::at_each_operation::not_whole;
use super::sample::has_all;

/// The program ends.
const END: i32 = 0;
/// How many faults an ordinary run of the tests has, beside all faults of removals.
const SAMPLE: usize = 20;
/// Chooses them.
const SEED: u64 = 20;
/// What a user and a killed process have left in the run.
const FOREIGN: &str = "checkpoint/last/notes.txt";
const UNFINISHED: &str = "checkpoint/last/.epoch=9-step=9.ckpt.0123456789abcdef-0123456789abcdef.staging";

/// What stays: the best one under both of its names, and the last two.
const KEPT: [&str; 4] = [
    "best/epoch=1-step=20.ckpt",
    "last/epoch=1-step=20.ckpt",
    "last/epoch=2-step=30.ckpt",
    "last/epoch=3-step=40.ckpt",
];

fn prune(root: &Path) -> Command {
    let mut command = burn_ckpt_command();
    command.arg("prune").arg(run_dir(root)).args(["--keep", "last=2"]);
    command
}

fn copied(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// The files and links below a directory, with the content of the files.
fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| match name.contains(" -> ") {
        true => Vec::new(),
        false => std::fs::read(directory.join(name)).unwrap(),
    };
    files(directory).into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// What is wrong after a fault, and after the prune that follows it.
fn violations(
    calls: &FailingCalls,
    prepared: &Path,
    root: &Path,
    done: &BTreeMap<String, Vec<u8>>,
    failing: FailingCall<'_>,
) -> Vec<String> {
    copied(prepared, root);
    let mut disturbed = prune(root);
    calls.apply(&mut disturbed, root, failing);
    let output = disturbed.output().unwrap();
    let mut wrong = Vec::new();
    if !matches!(output.status.code(), Some(0 | 1 | 99)) {
        wrong.push(format!("the program ends with {}", output.status));
    }
    wrong.extend(not_whole(&checkpoints(root)));
    let left = content(&run_dir(root));
    for (name, bytes) in done {
        if left.get(name).is_none_or(|found| found != bytes) {
            wrong.push(format!("{name}, which the rule keeps, is missing or changed"));
        }
    }
    let again = prune(root).output().unwrap();
    if !again.status.success() {
        wrong.push(format!("the next prune fails: {}", String::from_utf8_lossy(&again.stderr)));
    }
    // The lock file of a prune that was killed stays, as the sign of a kill, until the run trains again.
    let mut left = content(&run_dir(root));
    left.retain(|name, _| name != "run.lock");
    let (left, done): (Vec<_>, Vec<_>) = (left.into_keys().collect(), done.keys().collect());
    if left.iter().collect::<Vec<_>>() != done {
        wrong.push(format!("it leaves {left:?}, and should leave {done:?}"));
    }
    wrong
}

/// With `STORAGE_FAULTS=all` all faults. Otherwise those of the operations that always count, and a few that
/// are spread over the whole run.
fn chosen(all: &[(usize, i32)], always: impl Fn(usize) -> bool) -> Vec<(usize, i32)> {
    if has_all() {
        return all.to_vec();
    }
    let (mut chosen, others): (Vec<_>, Vec<_>) = all.iter().partition(|(at, _)| always(*at));
    let mut random = SplitMix64::new(SEED);
    for part in 0..SAMPLE {
        let (from, to) = (part * others.len() / SAMPLE, (part + 1) * others.len() / SAMPLE);
        chosen.extend(others.get(from + random.below((to - from) as u64) as usize));
    }
    chosen
}

#[test]
fn at_each_operation_of_prune() {
    let calls = FailingCalls::compile();
    let home = in_memory();
    let (root, prepared) = (home.path().join("run"), home.path().join("prepared"));
    train_and_keep_all(&root, &[3.0, 1.0, 4.0, 5.0], 1).unwrap();
    std::fs::write(run_dir(&root).join(FOREIGN), "mine").unwrap();
    std::fs::write(run_dir(&root).join(UNFINISHED), "half").unwrap();
    // What this process logs goes there.
    std::fs::remove_file(run_dir(&root).join("experiment.log")).unwrap();
    std::fs::rename(&root, &prepared).unwrap();

    copied(&prepared, &root);
    let operations = calls.noted(prune(&root), &root);
    let done = content(&run_dir(&root));
    assert!(KEPT.iter().all(|name| done.contains_key(&format!("checkpoint/{name}"))), "{:?}", done.keys());
    assert!(done.contains_key(FOREIGN) && !done.contains_key(UNFINISHED), "{:?}", done.keys());
    let checkpoints = done.keys().filter(|name| name.ends_with(".ckpt") && !name.contains(" -> "));
    assert_eq!(checkpoints.count(), KEPT.len(), "{:?}", done.keys());

    let all: Vec<(usize, i32)> =
        (1..=operations.len()).flat_map(|at| [EIO, EACCES, END].map(|errno| (at, errno))).collect();
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::new());
    for (at, errno) in chosen(&all, |at| operations[at - 1].starts_with("remove ")) {
        let operation = &operations[at - 1];
        *counts.entry(operation.split(' ').next().unwrap()).or_insert(0) += 1;
        let found = violations(&calls, &prepared, &root, &done, FailingCall { call: "any", at, errno });
        if !found.is_empty() {
            wrong.push(format!("{errno} at #{at} {operation}:\n    {}", found.join("\n    ")));
        }
    }
    println!(
        "prune (seed {SEED}): {} operations, {} of {} faults, {} violations: {counts:?}",
        operations.len(),
        counts.values().sum::<u32>(),
        all.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} violations:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.get("remove").is_some_and(|count| *count > 5), "{counts:?}");
}
