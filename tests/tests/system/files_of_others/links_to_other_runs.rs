//! A run's directories that are links: into another run, where nothing is done, or to another disk, where all
//! works.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use burn_ckpt::ErrorKind;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Error, TrainerConfig};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::{checkpoints, files, run_dir, stems};
use system_tests::{config, train, train_and_keep_all};

/// A run `r1` with three checkpoints.
fn with_a_run() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 3).unwrap();
    root
}

fn second(root: &Path) -> PathBuf {
    root.join("burn_trainer_logs/r2")
}

fn as_second(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_run_id("r2")
}

/// No way to start the second run does anything to the first.
fn stops_before_it_touches_the_first(root: &Path, config: &TrainerConfig) {
    let before = files(&run_dir(root));
    for config in [
        config.clone(),
        config.clone().with_overwrite(true),
        config.clone().with_ckpt_path("auto"),
        config.clone().with_ckpt_path("last"),
    ] {
        let error = train(config).map(|_| ()).unwrap_err();
        let Error::Checkpoint(cause) = &error else { panic!("{error}") };
        assert_eq!(cause.kind(), ErrorKind::OtherRun, "{error}");
        let text = error.to_string();
        assert!(text.contains("the run r2") && text.contains("the run r1"), "{text}");
        assert_eq!(files(&run_dir(root)), before);
    }
}

#[test]
fn checkpoint_that_leads_to_another_run_is_an_error_that_names_both() {
    let root = with_a_run();
    fs::create_dir(second(root.path())).unwrap();
    let link = second(root.path()).join("checkpoint");
    symlink("../r1/checkpoint", &link).unwrap();
    stops_before_it_touches_the_first(root.path(), &as_second(root.path(), 5));
    for arguments in [&["--keep", "last=1"][..], &["--keep", "last=1", "--dry-run"]] {
        let before = files(&run_dir(root.path()));
        let run = second(root.path());
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"prune", &run];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        let (_, error) = ended_with(&burn_ckpt(&all), 1);
        assert!(error.contains("the run r2") && error.contains("the run r1"), "{error}");
        assert_eq!(files(&run_dir(root.path())), before);
    }
    // Into it, and before it has saved anything.
    fs::remove_file(&link).unwrap();
    symlink("../r1/checkpoint/last", &link).unwrap();
    stops_before_it_touches_the_first(root.path(), &as_second(root.path(), 5));
}

#[test]
fn a_runs_directory_that_leads_to_another_run_is_an_error_that_names_both() {
    let root = with_a_run();
    symlink("r1", second(root.path())).unwrap();
    stops_before_it_touches_the_first(root.path(), &as_second(root.path(), 5));
    // `prune` takes a path: the run has another name, and its own lock is held.
    let pruned = burn_ckpt(&[&"prune", &second(root.path()), &"--keep", &"links"]);
    ended_with(&pruned, 0);
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=2-step=30"]);
}

#[test]
fn a_strategys_directory_in_another_run_is_an_error_that_names_both() {
    let root = with_a_run();
    let first = checkpoints(root.path());
    for dirpath in [first.join("last"), first.join("mine/deeper"), first.clone()] {
        let last = StrategyConfig::Last(Last::new().with_dirpath(dirpath));
        stops_before_it_touches_the_first(root.path(), &as_second(root.path(), 5).with_strategies([last]));
    }
    fs::create_dir_all(second(root.path()).join("checkpoint")).unwrap();
    symlink("../../r1/checkpoint/last", second(root.path()).join("checkpoint/last")).unwrap();
    stops_before_it_touches_the_first(root.path(), &as_second(root.path(), 5));
}

#[test]
fn links_to_another_disk_work_as_directories_do() {
    for linked in ["checkpoint", ""] {
        let (root, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = disk.path().join("r1/checkpoint");
        fs::create_dir_all(&place).unwrap();
        let (link, target) = match linked {
            "" => (run_dir(root.path()), place.parent().unwrap()),
            linked => (run_dir(root.path()).join(linked), place.as_path()),
        };
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
        train(config(root.path(), 1)).unwrap();
        assert_eq!(train(config(root.path(), 2).with_ckpt_path("auto")).unwrap().global_step, 20, "{linked}");
        assert_eq!(stems(&place.join("last")), ["epoch=1-step=20"]);
        train(config(root.path(), 1).with_overwrite(true)).unwrap();
        assert_eq!(stems(&place.join("last")), ["epoch=0-step=10"]);
        ended_with(&burn_ckpt(&[&"prune", &run_dir(root.path()), &"--keep", &"links"]), 0);
    }
}
