//! A state is saved once: crashes at one step, stops right after a save, ends that no trigger saves, fixed
//! file names.

use std::path::Path;

use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, metadata, stems};

/// A start of the run that panics at a training batch of this start.
fn panics(root: &Path, batch: usize, arguments: &str) -> Ended {
    let command = warmup(root, &format!("--run-id r1 --epochs 2 {arguments}"));
    let ended = Running::start(TestHooks::panic(Split::Train, batch).given_to(command)).end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    ended
}

fn run(root: &Path, arguments: &str) -> Ended {
    Running::start(warmup(root, &format!("--run-id r1 {arguments}"))).end_well()
}

fn saved(root: &Path, strategy: &str) -> Vec<String> {
    let directory = checkpoints(root).join(strategy);
    if directory.is_dir() { stems(&directory) } else { Vec::new() }
}

fn steps(root: &Path, strategy: &str) -> Vec<u64> {
    let step = |stem: &String| {
        let path = checkpoints(root).join(strategy).join(format!("{stem}.ckpt"));
        metadata(&path)["global_step"].as_u64().unwrap()
    };
    let mut steps: Vec<u64> = saved(root, strategy).iter().map(step).collect();
    steps.sort_unstable();
    steps
}

#[test]
fn six_crashes_at_one_step_leave_one_file_whatever_they_resume_from() {
    for from in ["auto", "last"] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        panics(root, 8, "--save-every-steps 5");
        let first = saved(root, "on_exception");
        // Batch 8 of the run: the 1st after step 7, or the 3rd after the `last` of step 5.
        let batch = if from == "auto" { 1 } else { 3 };
        for _ in 0..5 {
            let ended = panics(root, batch, &format!("--save-every-steps 5 --ckpt-path {from}"));
            assert!(ended.stderr.contains("the state before it is in "), "{ended:?}");
        }
        assert_eq!(steps(root, "on_exception"), [7], "{from}");
        assert_eq!(saved(root, "on_exception") == first, from == "auto", "it is not written again");
    }
}

#[test]
fn a_crash_right_after_a_save_names_the_checkpoint_that_has_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    panics(root, 8, "--save-every-steps 5");
    // The state of step 7 is saved by the strategy `last` when the run is stopped there.
    let ended = panics(root, 1, "--ckpt-path auto");
    let path =
        checkpoints(root).join("on_exception").join(format!("{}.ckpt", saved(root, "on_exception")[0]));
    assert!(ended.stderr.contains(&path.display().to_string()), "{ended:?}");
}

#[test]
fn on_exception_keeps_three_by_default_and_as_many_as_it_is_told() {
    for (flag, kept) in [("", vec![5, 7, 9]), ("--set on_exception.topk=\"all\"", vec![1, 3, 5, 7, 9])] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        panics(root, 2, flag);
        for _ in 0..4 {
            panics(root, 3, &format!("{flag} --ckpt-path auto"));
        }
        assert_eq!(steps(root, "on_exception"), kept, "{flag:?}");
    }
}

#[test]
fn a_stop_before_the_first_step_of_a_resumed_run_saves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(root, "--epochs 1");
    let command = warmup(root, "--run-id r1 --epochs 2 --ckpt-path auto --set grads_accumulation=30");
    stop_at_batch(command, Split::Train, 1);
    assert_eq!(
        (saved(root, "last"), saved(root, "on_exception")),
        (vec!["epoch=0-step=30".to_owned()], vec![])
    );
}

#[test]
fn the_end_of_a_run_is_saved_whatever_triggers_last_has() {
    for trigger in ["last.every_n_steps=7", "last.save_on_time_interval=\"1h\""] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        run(root, &format!("--epochs 2 --set {trigger} --set last.every_epoch=false"));
        assert_eq!(saved(root, "last"), ["epoch=1-step=60"], "{trigger}");
        // A run that is complete already does not save its end again.
        run(root, &format!("--epochs 2 --ckpt-path auto --set {trigger} --set last.every_epoch=false"));
        assert_eq!(saved(root, "last"), ["epoch=1-step=60"], "{trigger}");
    }
}

#[test]
fn a_fixed_file_name_gets_the_next_number_for_each_state_and_a_resume_continues_them() {
    let flags = "--set last.filename=\"model\" --save-every-steps 5";
    let directory = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| directory.path().join(name));
    run(&whole, &format!("--epochs 2 {flags}"));
    // 6 saves in an epoch of 30 steps, the last of which is the epoch's end: 12 in all.
    assert_eq!(saved(&whole, "last"), ["model-v11"]);
    run(&parts, &format!("--epochs 1 {flags}"));
    assert_eq!(saved(&parts, "last"), ["model-v5"]);
    run(&parts, &format!("--epochs 2 --ckpt-path auto {flags}"));
    assert_eq!(saved(&parts, "last"), ["model-v11"]);
}
