//! Directories that go away or cannot be written any more while training continues.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::FitResult;
use system_tests::models::small::{Model, OnStep, Script};
use system_tests::run_files::{checkpoints, complete_checkpoints, run_dir, stems};
use system_tests::{config, train, train_scripted};

/// Trains three epochs, in the second of which something happens.
fn with_event(root: &Path, event: impl Fn() + Send + Sync + 'static) -> FitResult<Model> {
    let first = checkpoints(root).join("last.ckpt");
    let action = OnStep(Arc::new(move || {
        // The links are the last that a save makes.
        while fs::metadata(&first).is_err() {
            std::thread::yield_now();
        }
        event();
    }));
    let script = Script { at_step: Some((15, action)), ..Script::default() };
    train_scripted(config(root, 3), script).unwrap()
}

#[test]
fn a_run_whose_directory_is_removed_trains_on_and_saves_into_a_new_one() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let result = with_event(root.path(), move || fs::remove_dir_all(&run).unwrap());
    assert_eq!(result.epochs, 3);
    assert_eq!(complete_checkpoints(&checkpoints(root.path())).unwrap(), 2, "best and last");
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=2-step=30"]);
    assert!(!result.last_save_failed);
}

/// A file system below a directory that becomes read-only.
#[derive(Default)]
struct ReadOnly(AtomicBool);

impl Observer for ReadOnly {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if self.0.load(Ordering::Relaxed) && operation.changes_the_disk() {
            return Verdict::Fail(std::io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Verdict::Proceed
    }
}

#[test]
fn a_file_system_that_becomes_read_only_costs_no_older_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(ReadOnly::default());
    let observation = observe(root.path(), disk.clone());
    let turned = Arc::clone(&disk);
    let result = with_event(root.path(), move || turned.0.store(true, Ordering::Relaxed));
    assert_eq!((result.epochs, result.failed_saves.len()), (3, 2));
    assert!(result.last_save_failed);
    for (_, error) in &result.failed_saves {
        assert_eq!(error.kind(), burn_ckpt::ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10"]);
    // It can be written again, and the run continues.
    drop(observation);
    assert_eq!(train(config(root.path(), 3).with_ckpt_path("auto")).unwrap().global_step, 30);
    assert_eq!(complete_checkpoints(&checkpoints(root.path())).unwrap(), 2);
}

#[test]
fn a_directory_that_cannot_be_written_any_more_costs_no_older_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let last = checkpoints(root.path()).join("last");
    let place = last.clone();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let result = with_event(root.path(), move || set_mode(&place, 0o500));
    let writes_anyway = fs::write(last.join("probe"), "").is_ok();
    set_mode(&last, 0o700);
    assert_eq!(result.epochs, 3);
    match writes_anyway {
        // Root writes anywhere: nothing has failed.
        true => assert!(result.failed_saves.is_empty() && !result.last_save_failed),
        false => {
            assert_eq!(result.failed_saves.len(), 2);
            assert_eq!(stems(&last), ["epoch=0-step=10"]);
        }
    }
    assert_eq!(train(config(root.path(), 4).with_ckpt_path("auto")).unwrap().global_step, 40);
}
