//! What several validations of an epoch leave in burn's metric files, and beside them.

use std::path::Path;

use burn::train::LearnerSummary;
use burn_trainer::config::Validation;
use serde_json::Value;
use system_tests::models::small::{Script, config, train, train_scripted};
use system_tests::run_files::{checkpoints, files, metadata, run_dir};

use super::{keeping_steps, root};

fn read(root: &Path, file: &str) -> String {
    std::fs::read_to_string(run_dir(root).join(file)).unwrap()
}

/// Step and loss of each validation of an epoch.
fn validations(root: &Path, epoch: u64) -> Vec<(u64, f64)> {
    let text = read(root, &format!("valid/epoch-{epoch}/validations.jsonl"));
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["step"].as_u64().unwrap(), row["val_loss"].as_f64().unwrap())).collect()
}

/// What burn's own reader says of the validation's loss in each epoch.
fn by_burns_reader(root: &Path) -> Vec<(usize, f64)> {
    let summary = LearnerSummary::new(run_dir(root), &["Loss"]).unwrap();
    let losses = summary.metrics.valid.into_iter().next().unwrap();
    losses.entries.into_iter().map(|entry| (entry.step, entry.value)).collect()
}

#[test]
fn a_file_has_the_lines_of_the_epochs_last_validation_and_another_the_values_of_all() {
    let root = root();
    let config = config(root.path(), 3).with_validation(Validation::every_n_steps(4));
    train(config.with_strategies(keeping_steps(4))).unwrap();
    let steps = |epoch| validations(root.path(), epoch).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    assert_eq!([1, 2, 3].map(steps), [vec![4, 8], vec![12, 16, 20], vec![24, 28]]);
    for epoch in 1..=3 {
        let text = read(root.path(), &format!("valid/epoch-{epoch}/Loss.log"));
        assert_eq!(text.lines().filter(|line| line.ends_with(",final")).count(), 1, "{text}");
        assert_eq!(text.lines().count(), 11);
        for (step, loss) in validations(root.path(), epoch) {
            let saved = metadata(
                &checkpoints(root.path()).join(format!("last/epoch={}-step={step}.ckpt", epoch - 1)),
            );
            assert_eq!(saved["metrics"]["val_loss"], loss, "{step}");
        }
    }
    let last = |epoch| validations(root.path(), epoch).pop().unwrap().1;
    assert_eq!(by_burns_reader(root.path()), [(1, last(1)), (2, last(2)), (3, last(3))]);
}

#[test]
fn burns_reader_takes_what_a_run_leaves_that_fails_in_a_validation() {
    let root = root();
    let script = Script { panic_in_validation: Some(14), ..Script::default() };
    let config = config(root.path(), 1).with_validation(Validation::every_n_steps(4));
    train_scripted(config, script).unwrap_err();
    assert_eq!(validations(root.path(), 1).len(), 1);
    assert_eq!(by_burns_reader(root.path()).len(), 1);
}

#[test]
fn without_a_schedule_nothing_else_is_written() {
    for validation in [Validation::default(), Validation::every_n_epochs(1), Validation::every_n_epochs(2)] {
        let root = root();
        train(config(root.path(), 2).with_validation(validation)).unwrap();
        let left = files(&run_dir(root.path()));
        assert!(!left.iter().any(|name| name.ends_with("validations.jsonl")), "{left:?}");
        let validated = left.iter().filter(|name| name.starts_with("valid/")).count();
        assert_eq!(validated, if validation == Validation::every_n_epochs(2) { 1 } else { 2 });
    }
}

#[test]
fn an_overwritten_run_leaves_none_of_them() {
    let root = root();
    let with = |validation| config(root.path(), 1).with_overwrite(true).with_validation(validation);
    train(with(Validation::every_n_steps(4))).unwrap();
    train(with(Validation::default())).unwrap();
    let left = files(&run_dir(root.path()));
    assert!(!left.iter().any(|name| name.ends_with("validations.jsonl")), "{left:?}");
}
