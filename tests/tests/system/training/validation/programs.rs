//! A program that validates within epochs gets a signal, or is killed, in the middle of a validation.

use std::path::Path;

use system_tests::programs::running::{Running, resumes_as, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, compare, in_memory, metadata, run_dir};

/// 30 batches and as many steps in an epoch, 8 more batches in each validation.
const FLAGS: &str = "--run-id r1 --epochs 2 --topk 2 --save-every-steps 5 --set validation.every_n_steps=7";

/// Trains to the end, with more flags. Returns the directory of the run.
fn undisturbed(root: &Path, flags: &str) -> std::path::PathBuf {
    Running::start(warmup(root, flags)).end_well();
    run_dir(root)
}

#[test]
fn a_signal_in_a_validation_within_an_epoch_saves_the_state_and_the_validation_is_done_again() {
    let directory = in_memory();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("stopped");
    // In the validation after step 14.
    let ended = stop_at_batch(warmup(&root, FLAGS), Split::Valid, 12);
    let saved = metadata(&checkpoints(&root).join("last.ckpt"));
    assert_eq!(
        (&saved["global_step"], &saved["metrics"]["val_loss"]),
        (&14.into(), &serde_json::Value::Null)
    );
    resumes_as(&ended, &root, &whole);
}

/// Kills a run at each of these batches of a validation, in three starts.
fn kill_at(root: &Path, arguments: &str, batches: [usize; 3]) {
    for batch in batches {
        let gate = Gate::closed();
        let command = TestHooks::wait(Split::Valid, batch, &gate).given_to(warmup(root, arguments));
        let mut running = Running::start(command);
        running.wait_for("the batch", |_| gate.is_reached());
        running.send("KILL");
        assert_eq!(running.end().signal(), Some(9));
    }
}

#[test]
fn a_kill_in_a_validation_within_an_epoch_resumes_exactly_on_one_and_two_devices() {
    let directory = in_memory();
    for (name, flags) in
        [("one", ""), ("two", " --set devices=2"), ("accumulated", " --set grads_accumulation=2")]
    {
        let flags = format!("{FLAGS}{flags}");
        let whole = undisturbed(&directory.path().join(format!("whole-{name}")), &flags);
        let root = directory.path().join(name);
        let auto = format!("{flags} --ckpt-path auto");
        // At the first, in the middle and at the last batch of a validation.
        kill_at(&root, &auto, [1, 12, 16]);
        Running::start(warmup(&root, &auto)).end_well();
        compare(&whole, &run_dir(&root)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    }
}

#[test]
fn a_kill_in_the_second_validation_set_resumes_exactly_with_all_callbacks() {
    let directory = in_memory();
    let flags = format!("{FLAGS} --set everything=true");
    let whole = undisturbed(&directory.path().join("whole"), &flags);
    let root = directory.path().join("killed");
    let auto = format!("{flags} --ckpt-path auto");
    // A validation has 8 batches of the main set, and 3 of the second one.
    kill_at(&root, &auto, [9, 10, 21]);
    Running::start(warmup(&root, &auto)).end_well();
    assert!(run_dir(&root).join("valid/epoch-2/trained_Loss.log").exists());
    compare(&whole, &run_dir(&root)).unwrap_or_else(|reason| panic!("{reason}"));
}
