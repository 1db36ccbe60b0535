//! Whatever ends a run, the command that it prints resumes the run. For a run that is done already, the
//! program prints that there is nothing to do, and does nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use system_tests::programs::running::{Ended, Running, printed_command, resumes_as, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, compare, files, run_dir};

const FLAGS: &str = "--run-id r1 --epochs 3 --topk 2";

fn undisturbed(root: &Path, flags: &str) -> PathBuf {
    Running::start(warmup(root, flags)).end_well();
    run_dir(root)
}

fn resumes(ended: &Ended, root: &Path, whole: &Path) {
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    resumes_as(ended, root, whole);
}

#[test]
fn after_a_panic_the_printed_command_resumes_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    for (name, split, batch) in [("train", Split::Train, 45), ("valid", Split::Valid, 12)] {
        let root = directory.path().join(name);
        let ended = Running::start(TestHooks::panic(split, batch).given_to(warmup(&root, FLAGS))).end();
        assert!(ended.stderr.contains(&format!("the batch {batch} was told to panic")), "{ended:?}");
        resumes(&ended, &root, &whole);
    }
}

#[test]
fn after_a_panic_in_the_first_step_nothing_is_in_the_way_of_the_same_command() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("parts");
    let ended = Running::start(TestHooks::panic(Split::Train, 1).given_to(warmup(&root, FLAGS))).end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert_eq!(files(&checkpoints(&root)), [""; 0], "{ended:?}");
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
    assert_eq!(undisturbed(&root, FLAGS), run_dir(&root));
    compare(&whole, &run_dir(&root)).unwrap();
}

#[test]
fn where_no_checkpoint_was_saved_no_command_is_printed() {
    let root = tempfile::tempdir().unwrap();
    let flags = format!("{FLAGS} --set checkpoint_saving=false");
    let ended =
        Running::start(TestHooks::panic(Split::Train, 45).given_to(warmup(root.path(), &flags))).end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert_eq!(files(&checkpoints(root.path())), [""; 0], "{ended:?}");
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
}

/// A run is stopped, and resumed where no file may be as large as a checkpoint.
fn without_room(root: &Path, flags: &str) -> Ended {
    stop_at_batch(warmup(root, flags), Split::Train, 45);
    let program = warmup(root, &format!("{flags} --ckpt-path auto"));
    let mut command = Command::new("sh");
    // Ignored, the signal of a file that is too large becomes an error of the write. The tensors alone would
    // fit.
    command.args(["-c", r#"trap "" XFSZ; ulimit -f 128; exec "$@""#, "sh"]).arg(program.get_program());
    command.args(program.get_args());
    Running::start(command).end()
}

#[test]
fn after_a_save_that_stopped_training_the_printed_command_resumes_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    // Training is never more than a few saves ahead of the disk, and so cannot end before it learns of the
    // failure.
    let flags = format!("{FLAGS} --save-every-steps 4 --set failed_saves=\"stop\"");
    let whole = undisturbed(&directory.path().join("whole"), &flags);
    let root = directory.path().join("stopped");
    let ended = without_room(&root, &flags);
    assert!(ended.stderr.contains("training stopped because"), "{ended:?}");
    resumes(&ended, &root, &whole);
}

#[test]
fn a_run_whose_last_save_failed_resumes_for_as_many_epochs_as_it_was_to_have() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("failed");
    let ended = without_room(&root, FLAGS);
    assert!(ended.stderr.contains("saving step 90 failed") && ended.stdout.contains("steps 90"), "{ended:?}");
    resumes(&ended, &root, &whole);
}

#[test]
fn wrong_usage_prints_no_command() {
    let root = tempfile::tempdir().unwrap();
    undisturbed(root.path(), "--run-id r1 --epochs 1");
    let ended = Running::start(warmup(root.path(), "--run-id r1 --epochs 1")).end();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
}

/// Everything in a run's directory but burn's log, with the time of its last change and what is in it.
fn state(run_dir: &Path) -> BTreeMap<String, (SystemTime, Vec<u8>)> {
    let names = files(run_dir).into_iter().filter(|name| name != "experiment.log");
    let described = |name: String| {
        let path = run_dir.join(name.split(" -> ").next().unwrap_or_default());
        let changed = std::fs::symlink_metadata(&path).unwrap().modified().unwrap();
        (name, (changed, std::fs::read(&path).unwrap()))
    };
    names.map(described).collect()
}

#[test]
fn a_run_that_is_done_says_that_there_is_nothing_to_do_and_resumes_with_more_epochs() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), "--run-id r1 --epochs 6 --topk 2");
    let root = directory.path().join("parts");
    undisturbed(&root, FLAGS);
    let before = state(&run_dir(&root));
    let again = |flags: &str| -> Command { warmup(&root, &format!("{flags} --ckpt-path auto")) };
    let fewer = "--run-id r1 --epochs 2 --topk 2";
    for (flags, goes_to) in [(FLAGS, "--epochs 6"), (fewer, "--epochs 6"), (FLAGS, "--epochs 6")] {
        let ended = Running::start(again(flags)).end_well();
        assert!(ended.stdout.contains("nothing to do: the run r1 is complete after 3 epochs"), "{ended:?}");
        assert!(ended.stdout.contains("epochs 3, steps 90"), "{ended:?}");
        assert!(ended.stdout.contains(goes_to), "{ended:?}");
        assert_eq!(state(&run_dir(&root)), before);
    }
    let ended = Running::start(again(FLAGS)).end_well();
    let ended = Running::start(printed_command(&ended.stdout)).end_well();
    assert!(!ended.stdout.contains("nothing to do") && ended.stdout.contains("steps 180"), "{ended:?}");
    compare(&whole, &run_dir(&root)).unwrap();
}
