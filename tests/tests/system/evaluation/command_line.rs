//! `--evaluate` of the training programs: the numbers of a checkpoint after training, or of a run that is
//! done.

use std::path::Path;

use system_tests::programs::commands::{ended_with, stderr, stdout, train_example};
use system_tests::run_files::{checkpoints, metadata};

/// The number of a metric that was printed.
fn printed(text: &str, metric: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{metric}: ")));
    line.unwrap_or_else(|| panic!("no {metric} in {text}")).parse().unwrap()
}

fn train(root: &Path, more: &[&str]) -> (String, String) {
    let arguments = [&["--run-id", "r1", "--ckpt-path", "auto", "--epochs", "2"][..], more].concat();
    let output = train_example(root, &arguments);
    (stdout(&output), stderr(&output))
}

#[test]
fn the_numbers_of_the_best_are_printed_after_training_and_of_a_run_that_is_done() {
    let root = tempfile::tempdir().unwrap();
    let (text, said) = train(root.path(), &["--evaluate", "best"]);
    assert!(said.contains("epoch 2/2 valid"), "{said}");
    // Without an epoch, which an evaluation has not.
    assert!(said.lines().any(|line| line.starts_with("val   359/359 items")), "{said}");
    let best = checkpoints(root.path()).join("best_val_loss.ckpt");
    let metrics = &metadata(&best)["metrics"];
    for metric in ["val_loss", "val_accuracy"] {
        assert_eq!(printed(&text, metric), metrics[metric].as_f64().unwrap(), "{text}");
    }
    let kept = text.lines().find_map(|line| line.strip_prefix("kept: ")).unwrap();
    assert!(root.path().join(kept).is_file(), "{kept}");
    assert!(text.contains("--evaluate best"), "the printed command evaluates too: {text}");

    let last = checkpoints(root.path()).join("last.ckpt");
    for checkpoint in ["last", last.to_str().unwrap(), "best_val_loss"] {
        let (text, said) = train(root.path(), &["--evaluate", checkpoint]);
        assert!(text.contains("nothing to do") && !said.contains("epoch 1/2"), "{text}{said}");
        let metrics = match checkpoint.starts_with("best") {
            true => metadata(&best),
            false => metadata(&last),
        };
        assert_eq!(printed(&text, "val_loss"), metrics["metrics"]["val_loss"].as_f64().unwrap());
    }
}

#[test]
fn a_mistyped_name_is_wrong_usage_before_training() {
    let root = tempfile::tempdir().unwrap();
    let output = train_example(root.path(), &["--run-id", "r1", "--evaluate", "bset"]);
    let (_, said) = ended_with(&output, 2);
    assert!(said.contains("bset") && said.contains("best_<metric>"), "{said}");
    assert!(!root.path().join("burn_trainer_logs").exists());
}

#[test]
fn a_name_that_the_run_will_not_have_is_an_error_before_the_first_step() {
    let root = tempfile::tempdir().unwrap();
    for more in [&["--evaluate", "best_val_nope"][..], &["--evaluate", "best_val_nope", "--fast-dev-run"]] {
        let output = train_example(root.path(), &[&["--run-id", "r1", "--epochs", "1"], more].concat());
        let (printed, said) = ended_with(&output, 2);
        assert!(said.contains("--evaluate best_val_nope") && said.contains("best_val_loss, last"), "{said}");
        assert!(!said.contains("epoch 1/1") && !printed.contains("val_loss"), "{printed}{said}");
    }
    // It was found before the first step: the start has left no run.
    assert!(!root.path().join("burn_trainer_logs/r1").exists());
}

#[test]
fn the_best_of_an_earlier_part_of_the_run_is_evaluated_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    train(root.path(), &[]);
    let (text, _) =
        train(root.path(), &["--set", "primary_metric=val_accuracy", "--evaluate", "best_val_loss"]);
    assert!(text.contains("kept: "), "{text}");
}

#[test]
fn a_file_that_is_not_a_checkpoint_is_wrong_usage_before_training() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("notes.ckpt"), "mine").unwrap();
    let output = train_example(root.path(), &["--run-id", "r1", "--evaluate", "notes.ckpt"]);
    let (_, said) = ended_with(&output, 2);
    assert!(said.contains("notes.ckpt") && said.contains("not a checkpoint"), "{said}");
    assert!(!root.path().join("burn_trainer_logs").exists());
}
