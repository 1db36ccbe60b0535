//! `--fast-dev-run`: what is printed, and that nothing is left, also after a signal.

use std::path::Path;
use std::process::Command;

use system_tests::programs::running::{Running, digits, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};

/// The program with `--fast-dev-run`, and a directory for temporary files of its own.
fn trial(mut command: Command, temporary: &Path) -> Command {
    command.arg("--fast-dev-run").env("TMPDIR", temporary);
    command
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn it_says_what_it_did_and_prints_no_path_that_is_gone() {
    let (root, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = "--epochs 30 --topk 2 --set grads_accumulation=4 --set num_workers=2 --set devices=2";
    let ended = Running::start(trial(warmup(root.path(), flags), temporary.path())).end_well();
    let said = &ended.stderr;
    assert!(said.contains("fast_dev_run: one batch of everything, in "), "{said}");
    assert!(said.contains("fast_dev_run: passed: 1 optimizer step, train_loss "), "{said}");
    assert!(!ended.stdout.contains("resume: ") && !ended.stdout.contains("checkpoint"), "{}", ended.stdout);
    assert_eq!((entries(root.path()), entries(temporary.path())), (0, 0));
}

#[test]
fn its_numbers_have_four_digits_as_those_of_the_epochs_have() {
    let (root, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The first rate of the warm-up is a hundredth of the top.
    let flags = "--set learning_rate=0.015";
    let ended = Running::start(trial(warmup(root.path(), flags), temporary.path())).end_well();
    let numbers = ended.stderr.lines().find(|line| line.contains("fast_dev_run: passed: ")).unwrap();
    assert!(numbers.contains("train_learning_rate 1.500e-4"), "{numbers}");
}

#[test]
fn the_evaluation_of_a_program_is_tried_without_its_flag() {
    let (root, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ended = Running::start(trial(digits(root.path(), ""), temporary.path())).end_well();
    assert!(ended.stderr.contains("fast_dev_run: evaluated "), "{}", ended.stderr);
    assert_eq!((entries(root.path()), entries(temporary.path())), (0, 0));
}

#[test]
fn a_signal_leaves_nothing_and_a_kill_leaves_what_was_named() {
    let (root, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at_the_first_batch = || {
        let gate = Gate::closed();
        let command = trial(warmup(root.path(), ""), temporary.path());
        let mut running = Running::start(TestHooks::wait(Split::Train, 1, &gate).given_to(command));
        running.wait_for("the batch", |_| gate.is_reached());
        (running, gate)
    };
    let (mut running, gate) = at_the_first_batch();
    running.send("TERM");
    running.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
    gate.open();
    let ended = running.end();
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    assert_eq!((entries(root.path()), entries(temporary.path())), (0, 0), "{ended:?}");

    let (running, _gate) = at_the_first_batch();
    let ended = running.kill();
    assert_eq!((entries(root.path()), entries(temporary.path())), (0, 1));
    let left = std::fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    assert!(ended.stderr.contains(&left.display().to_string()), "{ended:?}");
}
