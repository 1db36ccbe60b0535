//! A run of thousands of epochs: its checkpoints leave the early ones to the log, from which a resume has
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn_ckpt::metrics_log::{Line, Scope};
use burn_ckpt::{Checkpoint, Section};
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::{checkpoints, copy_checkpoint};
use system_tests::{config, train};

use super::{log, without_times};

/// More than a checkpoint has, by a block of 256.
const EPOCHS: usize = 4_360;
const LEFT_TO_LOG: u64 = 256;

/// Epochs of one batch, of which the last is saved.
fn of_one_batch(root: &Path, epochs: usize) -> TrainerConfig {
    let last = Last::new().with_every_epoch(false).with_every_n_steps(1_000_000);
    config(root, epochs)
        .with_limit_train_batches(1)
        .with_limit_valid_batches(1)
        .with_metric_files(false)
        .with_strategies([StrategyConfig::Last(last)])
}

/// The lines of epochs and validations, in an order that does not depend on the log.
fn of_epochs(root: &Path) -> Vec<String> {
    let lines: Vec<Line> = log(root).into_iter().filter(|line| line.scope != Scope::Batch).collect();
    without_times(lines)
}

#[test]
fn the_early_epochs_of_a_long_run_come_from_its_log() {
    let [whole, forked, alone] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    train(of_one_batch(whole.path(), EPOCHS)).unwrap();
    let last = checkpoints(whole.path()).join("last.ckpt");
    let tensors = Checkpoint::open(&last).unwrap().section(Section::HISTORY).unwrap();
    let names: BTreeSet<&str> = tensors.shapes().map(|(name, _)| name).collect();
    assert_eq!(names, BTreeSet::from(["metrics", "latest_epochs"]));
    let path = fs::canonicalize(&last).unwrap();

    // A run of its own writes its log from the history, which has all epochs.
    train(of_one_batch(forked.path(), EPOCHS + 1).with_ckpt_path(path.to_str().unwrap())).unwrap();
    let (then, now) = (of_epochs(whole.path()), of_epochs(forked.path()));
    assert_eq!((now.len(), &now[..then.len()]), (then.len() + 2, &then[..]));

    // A copy of the checkpoint alone has the latest ones.
    let copy = alone.path().join("copy.ckpt");
    copy_checkpoint(&path, &copy);
    train(of_one_batch(alone.path(), EPOCHS + 1).with_ckpt_path(copy.to_str().unwrap())).unwrap();
    let lines = log(alone.path());
    assert_eq!(lines.iter().map(|line| line.epoch).min(), Some(LEFT_TO_LOG));
    assert_eq!(of_epochs(alone.path())[..], now[2 * LEFT_TO_LOG as usize..]);

    // The run itself continues its log, and the program says what a run without a log lacks.
    train(of_one_batch(whole.path(), EPOCHS + 1).with_ckpt_path("auto")).unwrap();
    assert_eq!(of_epochs(whole.path()), now);
    let run = checkpoints(whole.path()).parent().unwrap().to_path_buf();
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let (out, said) = ended_with(&burn_ckpt(&[&"csv", &run]), 0);
    assert!(said.contains("the first 256 epochs are not in it"), "{said}");
    let first = out.lines().nth(1).unwrap();
    assert!(first.split(',').any(|field| field == LEFT_TO_LOG.to_string()), "{first}");
}
