//! A run without burn's metric files, for a disk that counts files: everything else is the same.

use std::path::Path;

use burn::train::metric::LossMetric;
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::{MetricEarlyStoppingStrategy, StoppingCondition};
use burn_trainer::{FitResult, Result, TrainerConfig};
use system_tests::models::small::{Model, Script};
use system_tests::run_files::{checkpoints, run_dir, stems};
use system_tests::{config, train, train_with};

use super::{log, without_times};

fn without(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_metric_files(false).with_ckpt_path("auto")
}

/// Stops when the loss of the validation has not been lower for two epochs. With `summary`, burn's is asked
/// for.
fn stopping(config: TrainerConfig, script: Script) -> Result<FitResult<Model>> {
    train_with(config, script, |training| {
        let strategy = MetricEarlyStoppingStrategy::new(
            &LossMetric::new(),
            Aggregate::Mean,
            Direction::Lowest,
            Split::Valid,
            StoppingCondition::NoImprovementSince { n_epochs: 2 },
        );
        training.metrics((LossMetric::new(),)).early_stopping(strategy).summary()
    })
}

#[test]
fn it_ends_as_one_with_them_also_after_a_failure() {
    let (with, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = stopping(config(with.path(), 6), Script::default()).unwrap();
    stopping(without(parts.path(), 6), Script { panic_in_step: Some(34), ..Script::default() }).unwrap_err();
    let result = stopping(without(parts.path(), 6), Script::default()).unwrap();
    assert_eq!(
        (expected.metrics, expected.epochs, expected.outcome.is_early_stop()),
        (result.metrics, result.epochs, result.outcome.is_early_stop())
    );
    for strategy in ["best", "last"] {
        let [expected, found] = [&with, &parts].map(|root| stems(&checkpoints(root.path()).join(strategy)));
        assert_eq!(expected, found);
    }
    assert_eq!(without_times(log(with.path())), without_times(log(parts.path())));
    for split in ["train", "valid"] {
        assert!(run_dir(with.path()).join(split).is_dir());
        assert!(!run_dir(parts.path()).join(split).exists(), "{split}");
    }
}

#[test]
fn files_of_an_earlier_start_stay_unless_they_are_out_of_date() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let first = checkpoints(root.path()).join("best/epoch=2-step=30.ckpt");
    assert!(first.exists());
    let exists = |place: &str| run_dir(root.path()).join(place).exists();
    train(without(root.path(), 4)).unwrap();
    assert!(exists("train/epoch-3/Loss.log") && !exists("train/epoch-4"));
    // What stands in their place is not in the way.
    std::fs::remove_dir_all(run_dir(root.path()).join("train")).unwrap();
    std::fs::write(run_dir(root.path()).join("train"), "mine").unwrap();
    train(without(root.path(), 5)).unwrap();
    assert_eq!(std::fs::read_to_string(run_dir(root.path()).join("train")).unwrap(), "mine");
}
