//! A state that is both best and last is on the disk once.

use std::os::unix::fs::MetadataExt;

use burn_trainer::{Best, Last, StrategyConfig};
use system_tests::tree::{checkpoints, metadata};
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
    let config = config(root.path(), 1)
        .with_strategy(StrategyConfig::Best(Best { save_weights_only: true, ..Best::default() }))
        .with_strategy(StrategyConfig::Last(Last::default()));
    train(config).unwrap();
    let directory = checkpoints(root.path());
    let sections =
        |name: &str| burn_ckpt::Checkpoint::open(directory.join(name)).unwrap().sections().to_vec();
    assert_eq!(sections("best_val_loss.ckpt"), ["model"]);
    assert_eq!(sections("last.ckpt"), ["model", "optimizer", "scheduler"]);
    let names = |name: &str| metadata(&directory.join(name))["tensors"].as_object().unwrap().len();
    assert!(names("best_val_loss.ckpt") < names("last.ckpt"));
}
