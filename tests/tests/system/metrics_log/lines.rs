//! What the log has: each training batch, each validation and each epoch, with the step and the values that
//! the metadata have.

use std::fs;

use burn::train::ExecutionStrategy;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn_ckpt::Checkpoint;
use burn_trainer::config::{ValidateAtStart, Validation};
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::models::small::{Script, train_with_strategy};
use system_tests::run_files::{checkpoints, run_dir};
use system_tests::{backend, config, train, train_with};

use super::{in_short, log, of_batches, without_times};

#[test]
fn each_batch_each_validation_and_each_epoch_has_a_line_at_its_step() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 2)
        .with_validate_at_start(ValidateAtStart::Whole)
        .with_validation(Validation::every_n_steps(7));
    train(config).unwrap();
    let lines = log(root.path());
    let all: Vec<String> = lines.iter().map(in_short).collect();
    let batches =
        |epoch: u64, steps: std::ops::RangeInclusive<u64>| steps.map(move |step| format!("b{epoch}.{step}"));
    let mut expected = vec!["v0.0".to_owned()];
    expected.extend(
        batches(0, 1..=7).chain(["v0.7".to_owned()]).chain(batches(0, 8..=10)).chain(["e0.10".to_owned()]),
    );
    expected.extend(
        batches(1, 11..=14)
            .chain(["v1.14".to_owned()])
            .chain(batches(1, 15..=20))
            .chain(["e1.20".to_owned()]),
    );
    assert_eq!(all, expected);
    let numbers: Vec<Option<u64>> = lines.iter().filter(of_batches).map(|line| line.batch).collect();
    assert_eq!(numbers, [1..=10, 1..=10].into_iter().flatten().map(Some).collect::<Vec<_>>());
    let times: Vec<_> = lines.iter().map(|line| line.time.unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn the_values_are_those_of_the_metadata_under_the_same_names() {
    let root = tempfile::tempdir().unwrap();
    let last = StrategyConfig::Last(Last::new());
    let config = config(root.path(), 2).with_strategies([last]);
    train_with(config, Script::default(), |training| {
        training.metrics((LossMetric::new(),)).metric_train_numeric(LearningRateMetric::new())
    })
    .unwrap();
    let metadata = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap().metadata().unwrap();
    let lines = log(root.path());
    let [.., batch, validation, epoch] = &lines[..] else { panic!("{lines:?}") };
    let logged =
        epoch.metrics.iter().chain(&validation.metrics).collect::<std::collections::BTreeMap<_, _>>();
    assert_eq!(logged, metadata.metrics.iter().collect());
    assert_eq!(batch.metrics.keys().collect::<Vec<_>>(), ["train_loss", "train_learning_rate"]);
    let mean: f64 = lines[lines.len() - 12..]
        .iter()
        .filter(of_batches)
        .map(|line| line.metrics["train_loss"])
        .sum::<f64>()
        / 10.0;
    assert!((mean - epoch.metrics["train_loss"]).abs() < 1e-12, "{mean} {epoch:?}");
}

#[test]
fn batches_that_are_accumulated_have_the_step_that_they_are_for() {
    let root = tempfile::tempdir().unwrap();
    train_with(config(root.path(), 1), Script::default(), |training| {
        training.metrics((LossMetric::new(),)).grads_accumulation(4)
    })
    .unwrap();
    let steps: Vec<u64> = log(root.path()).iter().filter(of_batches).map(|line| line.step).collect();
    assert_eq!(steps, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
}

#[test]
fn a_loop_of_burns_logs_the_same() {
    let (ours, burns) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(ours.path(), 2)).unwrap();
    train_with_strategy(config(burns.path(), 2), ExecutionStrategy::single(backend::device().autodiff()))
        .unwrap();
    assert_eq!(
        log(ours.path()).iter().map(in_short).collect::<Vec<_>>(),
        log(burns.path()).iter().map(in_short).collect::<Vec<_>>()
    );
    train_with_strategy(
        config(burns.path(), 3).with_ckpt_path("auto"),
        ExecutionStrategy::single(backend::device().autodiff()),
    )
    .unwrap();
    train(config(ours.path(), 3).with_ckpt_path("auto")).unwrap();
    assert_eq!(without_times(log(ours.path())).len(), log(burns.path()).len());
}

#[test]
fn the_first_line_says_what_the_file_is() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let text = fs::read_to_string(run_dir(root.path()).join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["format"], &first["version"], &first["run_id"]),
        (&"burn-ckpt metrics".into(), &1.into(), &"r1".into())
    );
    assert_eq!(text.lines().count(), 1 + 10 + 2);
}
