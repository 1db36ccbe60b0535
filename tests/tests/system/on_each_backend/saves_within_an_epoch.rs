//! Saving in the middle of an epoch: by steps and by time, with metrics of that moment, and with gradients
//! accumulated.

use std::time::Duration;

use burn::train::metric::LossMetric;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::models::small::Script;
use system_tests::run_files::{checkpoints, metadata, stems, target};
use system_tests::{config, train, train_with};

fn last(last: Last) -> StrategyConfig {
    StrategyConfig::Last(last.with_topk(TopK::All))
}

#[test]
fn every_n_steps_saves_in_the_middle_of_an_epoch() {
    let root = tempfile::tempdir().unwrap();
    let strategy = last(Last::new().with_every_n_steps(4));
    train(config(root.path(), 2).with_strategies([strategy])).unwrap();
    let directory = checkpoints(root.path());
    let expected = ["0-step=10", "0-step=4", "0-step=8", "1-step=12", "1-step=16", "1-step=20"];
    let expected: Vec<String> = expected.iter().map(|name| format!("epoch={name}")).collect();
    assert_eq!(stems(&directory.join("last")), expected);
    assert_eq!(target(&directory.join("last.ckpt")).file_stem().unwrap(), "epoch=1-step=20");

    // The averages of the epoch so far, and the results of a validation only where this state was validated.
    let keys = |stem: &str| {
        let described = metadata(&directory.join(format!("last/{stem}.ckpt")));
        described["metrics"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("epoch=0-step=4"), ["train_loss"]);
    assert_eq!(keys("epoch=1-step=12"), ["train_loss"]);
    assert_eq!(keys("epoch=0-step=10"), ["train_loss", "val_loss"]);
}

#[test]
fn a_step_that_ends_an_epoch_is_saved_once() {
    let root = tempfile::tempdir().unwrap();
    let strategy = last(Last::new().with_every_n_steps(5));
    let result = train(config(root.path(), 1).with_strategies([strategy])).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10", "epoch=0-step=5"]);
    assert_eq!(result.saves, 2);
}

#[test]
fn the_time_interval_saves_in_the_middle_of_an_epoch() {
    let root = tempfile::tempdir().unwrap();
    // Shorter than any step, so that every step is due.
    let interval = Duration::from_nanos(1);
    let strategy = last(Last::new().with_save_on_time_interval(interval).with_every_epoch(false));
    let result = train(config(root.path(), 1).with_strategies([strategy])).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("last")).len(), 10);
    assert_eq!(result.saves, 10);

    // Longer than the whole run: only its end.
    let root = tempfile::tempdir().unwrap();
    let interval = Duration::from_secs(3600);
    let strategy = last(Last::new().with_save_on_time_interval(interval).with_every_epoch(false));
    assert_eq!(train(config(root.path(), 1).with_strategies([strategy])).unwrap().saves, 1);
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10"]);
}

#[test]
fn steps_are_optimizer_steps_and_saves_fall_on_them() {
    let root = tempfile::tempdir().unwrap();
    let strategy = last(Last::new().with_every_n_steps(1));
    let config = config(root.path(), 1).with_strategies([strategy]);
    let set_up = |training: burn::train::SupervisedTraining<_>| {
        training.metrics((LossMetric::new(),)).grads_accumulation(4)
    };
    let result = train_with(config, Script::default(), set_up).unwrap();
    // 10 batches: after 4, after 8, and at the epoch's end with the 2 that remain.
    assert_eq!(result.global_step, 3);
    let directory = checkpoints(root.path()).join("last");
    assert_eq!(stems(&directory), ["epoch=0-step=1", "epoch=0-step=2", "epoch=0-step=3"]);
    let state = |stem: &str| {
        let checkpoint = burn_ckpt::Checkpoint::open(directory.join(format!("{stem}.ckpt"))).unwrap();
        checkpoint.trainer_state::<serde_json::Value>().unwrap()
    };
    assert_eq!(state("epoch=0-step=2")["batches"], 8);
    assert_eq!(state("epoch=0-step=3")["batches"], 10);
    assert_eq!(state("epoch=0-step=3")["epoch_complete"], true);
}

#[test]
fn file_names_follow_the_template() {
    let root = tempfile::tempdir().unwrap();
    let filename = "{epoch:03}-{val_loss:.4}".to_owned();
    train(config(root.path(), 1).with_strategies([last(Last::new().with_filename(filename))])).unwrap();
    let directory = checkpoints(root.path());
    let loss = metadata(&directory.join("last.ckpt"))["metrics"]["val_loss"].as_f64().unwrap();
    assert_eq!(stems(&directory.join("last")), [format!("000-{loss:.4}")]);
}

#[test]
fn a_template_without_step_loses_no_state() {
    let root = tempfile::tempdir().unwrap();
    let filename = "state".to_owned();
    let strategy = last(Last::new().with_filename(filename).with_every_n_steps(4));
    train(config(root.path(), 1).with_strategies([strategy])).unwrap();
    let directory = checkpoints(root.path());
    assert_eq!(stems(&directory.join("last")), ["state-v1", "state-v2", "state"]);
    assert_eq!(metadata(&directory.join("last/state-v2.ckpt"))["global_step"], 10);
}

#[test]
fn dirpath_moves_the_files_and_the_link_follows() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = root.path().join("elsewhere");
    let strategy = last(Last::new().with_dirpath(elsewhere.clone()));
    let result = train(config(root.path(), 1).with_strategies([strategy])).unwrap();
    assert_eq!(stems(&elsewhere), ["epoch=0-step=10"]);
    let saved = std::fs::canonicalize(elsewhere.join("epoch=0-step=10.ckpt")).unwrap();
    assert_eq!(result.last().map(|last| last.path.canonicalize().unwrap()), Some(saved));
    let link = checkpoints(root.path()).join("last.ckpt");
    assert!(target(&link).is_relative());
    assert_eq!(
        std::fs::canonicalize(link).unwrap(),
        std::fs::canonicalize(elsewhere.join("epoch=0-step=10.ckpt")).unwrap()
    );
}
