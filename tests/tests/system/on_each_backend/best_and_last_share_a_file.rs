//! A state that is both best and last is on the disk once.

use std::os::unix::fs::MetadataExt;

use burn_trainer::strategy::{Best, Last, StrategyConfig};
use system_tests::run_files::{checkpoints, metadata};
use system_tests::{config, train};

#[test]
fn best_and_last_at_one_step_are_one_file() {
    let root = tempfile::tempdir().unwrap();
    let result = train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let (best, last) =
        (directory.join("best/epoch=0-step=10.ckpt"), directory.join("last/epoch=0-step=10.ckpt"));
    let inode = |path| std::fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&best), inode(&last));
    assert_eq!(std::fs::metadata(&best).unwrap().nlink(), 2);
    assert_eq!(result.saves, 1);
    // Each has metadata of its own, which differs in the reason alone.
    let (mut best, last) = (metadata(&best), metadata(&last));
    assert_eq!((best["reason"].as_str(), last["reason"].as_str()), (Some("best"), Some("last")));
    best["reason"] = "last".into();
    assert_eq!(best, last);
}

#[test]
fn weights_alone_are_another_file() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1).with_strategies([
        StrategyConfig::Best(Best::new().with_save_weights_only(true)),
        StrategyConfig::Last(Last::default()),
    ]);
    train(config).unwrap();
    let directory = checkpoints(root.path());
    let sections =
        |name: &str| burn_ckpt::Checkpoint::open(directory.join(name)).unwrap().sections().to_vec();
    assert_eq!(sections("best_val_loss.ckpt"), ["model"]);
    assert_eq!(sections("last.ckpt"), ["model", "optimizer", "scheduler", "history"]);
    let names = |name: &str| metadata(&directory.join(name))["tensors"].as_object().unwrap().len();
    assert!(names("best_val_loss.ckpt") < names("last.ckpt"));
}

#[test]
fn where_there_is_no_hard_link_there_is_a_copy() {
    // Two file systems: no hard link leads from one to the other.
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let device = |path| std::fs::metadata(path).unwrap().dev();
    assert_ne!(device(root.path()), device(elsewhere.path()), "/dev/shm is a file system of its own");
    let directory = elsewhere.path().join("deeper/last");
    let config = config(root.path(), 1).with_strategies([
        StrategyConfig::Best(Best::default()),
        StrategyConfig::Last(Last::new().with_dirpath(directory.clone())),
    ]);
    let result = train(config.clone()).unwrap();
    assert!(result.failed_saves.is_empty(), "{:?}", result.failed_saves);
    let best = std::fs::read(checkpoints(root.path()).join("best/epoch=0-step=10.ckpt")).unwrap();
    assert!(best == std::fs::read(directory.join("epoch=0-step=10.ckpt")).unwrap());
    let last = burn_ckpt::Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    last.verify().unwrap();

    // And the run finds it there again.
    let config = config.with_max_epochs(2).with_ckpt_path("auto");
    assert_eq!(train(config).unwrap().global_step, 20);
    assert_eq!(system_tests::run_files::stems(&directory), ["epoch=1-step=20"]);
}
