//! Roots and run ids: those that cannot be used are a clear error before training, those that can, work.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn_ckpt::plumbing::RunLock;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::config::LockMode;
use burn_trainer::{Error, TrainerConfig};
use system_tests::programs::commands::{stderr, stdout, train_example};
use system_tests::run_files::{checkpoints, files, stems};
use system_tests::{config, train};

/// How long a thread may take to be scheduled.
const LIMIT: Duration = Duration::from_secs(20);

fn error(config: TrainerConfig) -> Error {
    match train(config) {
        Ok(_) => panic!("it trained"),
        Err(error) => error,
    }
}

#[test]
fn a_path_with_spaces_and_letters_of_any_script_works() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("mein Ordner – größer/数据");
    let config = config(&place, 1).with_run_id("Lauf № 1");
    let result = train(config).unwrap();
    assert_eq!(result.run_dir, place.join("burn_trainer_logs/Lauf № 1"));
    assert!(result.run_dir.join("checkpoint/best_val_loss.ckpt").exists());
}

#[test]
fn a_root_that_is_a_file_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(error(config(&file, 1)).to_string().contains("file is not a directory"));
    let below = error(config(&file.join("below"), 1)).to_string();
    assert!(below.contains("file/below cannot be read: Not a directory"), "{below}");
}

#[test]
fn a_file_in_the_runs_place_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("burn_trainer_logs")).unwrap();
    std::fs::write(root.path().join("burn_trainer_logs/r1"), "").unwrap();
    assert!(error(config(root.path(), 1)).to_string().contains("burn_trainer_logs/r1"));
}

#[test]
fn run_ids_that_are_not_directory_names_are_errors() {
    let long = "x".repeat(300);
    for run_id in ["", ".", "..", "a/b", "/tmp/x", "a\0b", "a\nb", long.as_str()] {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path(), 1).with_run_id(run_id.to_owned());
        let text = error(config).to_string();
        assert!(text.contains("the run id"), "{run_id:?}: {text}");
        assert_eq!(files(root.path()), Vec::<String>::new());
    }
}

#[test]
fn without_permission_there_is_an_error_that_names_the_directory() {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere; where it can, there is a file system that cannot be written to.
    let place = if std::fs::create_dir(root.path().join("probe")).is_ok() {
        Path::new("/proc/no-such-place")
    } else {
        root.path()
    };
    let text = error(config(place, 1)).to_string();
    assert!(text.contains(&place.display().to_string()), "{text}");
}

#[test]
fn a_run_id_is_made_up_where_none_is_given() {
    let root = tempfile::tempdir().unwrap();
    let made_up = || {
        let config =
            TrainerConfig::new().with_root(root.path()).with_primary_metric("val_loss").with_max_epochs(1);
        let result = train(config).unwrap();
        assert!(result.run_dir.join("checkpoint/last.ckpt").exists());
        result.run_id
    };
    assert_ne!(made_up(), made_up());
}

#[test]
fn an_older_run_of_the_same_id_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let before = files(root.path());
    let text = error(config(root.path(), 2)).to_string();
    assert!(text.contains("r1") && text.contains("auto") && text.contains("overwrite"), "{text}");
    assert_eq!(files(root.path()), before);
}

#[test]
fn overwrite_removes_what_the_older_run_left_and_nothing_of_the_users() {
    let root = tempfile::tempdir().unwrap();
    let run = train(config(root.path(), 3)).unwrap().run_dir;
    std::fs::write(run.join("notes.txt"), "mine").unwrap();
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10"]);
    assert!(!run.join("train/epoch-2").exists());
    assert_eq!(std::fs::read_to_string(run.join("notes.txt")).unwrap(), "mine");
}

/// Tells of each attempt to lock a file, before it is made.
struct Attempts(Mutex<Sender<()>>);

impl Observer for Attempts {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        if let Operation::Lock(..) = operation {
            self.0.lock().unwrap().send(()).unwrap();
        }
        Verdict::Proceed
    }
}

#[test]
fn a_lock_that_goes_in_a_moment_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let layout = burn_ckpt::RunLayout::new(root.path(), "logs", "run").unwrap();
    let held = RunLock::acquire(layout.run_dir(), LockMode::Required).unwrap();
    let (sender, attempts) = channel();
    let _observation = observe(root.path(), Arc::new(Attempts(Mutex::new(sender))));
    let directory = layout.run_dir().to_path_buf();
    let waiting = std::thread::spawn(move || RunLock::acquire(&directory, LockMode::Required).map(drop));
    // The second attempt comes after the first has failed, as the lock is held.
    for _ in 0..2 {
        attempts.recv_timeout(LIMIT).expect("it is tried again");
    }
    drop(held);
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_second_process_gets_an_error_with_the_firsts_id_and_the_lock_of_a_dead_one_does_not_block() {
    let root = tempfile::tempdir().unwrap();
    let layout = burn_ckpt::RunLayout::new(root.path(), "burn_trainer_logs", "r1").unwrap();
    let lock = RunLock::acquire(layout.run_dir(), LockMode::Required).unwrap();
    let output = train_example(root.path(), &["--run-id", "r1", "--epochs", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&format!("process {} on host", std::process::id())), "{text}");

    // What a killed process leaves: the file without its lock.
    drop(lock);
    std::fs::write(layout.run_dir().join("run.lock"), "process 1 on host elsewhere\n").unwrap();
    stdout(&train_example(root.path(), &["--run-id", "r1", "--epochs", "1"]));
    assert!(!layout.run_dir().join("run.lock").exists());
}

#[test]
fn without_saving_there_is_no_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let result = train(config(root.path(), 1).with_checkpoint_saving(false)).unwrap();
    assert_eq!(files(&checkpoints(root.path())), Vec::<String>::new());
    assert_eq!((result.saves, result.checkpoints.len()), (0, 0));
    assert_eq!(result.global_step, 10);
}
