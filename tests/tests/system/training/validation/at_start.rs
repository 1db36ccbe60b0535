//! A validation before the first step, and one that is only tried.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::train::metric::LossMetric;
use burn_trainer::config::{EarlyStopping, ValidateAtStart, Validation};
use burn_trainer::strategy::{Best, StrategyConfig, TopK};
use burn_trainer::{Error, Trainer};
use system_tests::models::small::{
    BATCH, Batch, ItemBatcher, Script, ScriptedMetric, config, items, learner, shuffling, train,
    train_scripted, train_with,
};
use system_tests::run_files::{checkpoints, compare, metadata, run_dir, stems};

use super::{keeping_steps, root, wrong_setting};

/// burn's own, which draws a new order in each pass.
fn burns() -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(ItemBatcher).batch_size(BATCH).shuffle(3).build(items())
}

#[test]
fn the_state_of_the_start_is_ranked() {
    let root = root();
    let config = config(root.path(), 2).with_primary_metric("val_score");
    let best = StrategyConfig::Best(Best::new().with_topk(TopK::Count(2)));
    let config = config.with_validate_at_start(ValidateAtStart::Whole).with_strategies([best]);
    let metric = ScriptedMetric::new("Score", &[1.0, 3.0, 2.0]);
    train_with(config, Script::default(), |training| training.metric_valid_numeric(metric)).unwrap();
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=0-step=0", "epoch=1-step=20"]);
    let best = metadata(&checkpoints(root.path()).join("best_val_score.ckpt"));
    assert_eq!((&best["global_step"], &best["metrics"]["val_score"]), (&0.into(), &1.0.into()));
    let rows = std::fs::read_to_string(run_dir(root.path()).join("valid/epoch-1/validations.jsonl")).unwrap();
    assert_eq!(rows, "{\"step\":0,\"val_score\":1.0}\n{\"step\":10,\"val_score\":3.0}\n");
}

#[test]
fn a_run_whose_schedule_never_comes_due_has_that_of_its_start() {
    let root = root();
    let best = || StrategyConfig::Best(Best::new().with_filename("{step}-{val_loss:.1}"));
    let never = |root: &std::path::Path| {
        let config = config(root, 2).with_max_steps(15).with_validation(Validation::every_n_steps(100));
        config.with_strategies([best()]).with_early_stopping(EarlyStopping::new("val_loss"))
    };
    assert_eq!(wrong_setting(train(never(root.path()))).0, "validation.every_n_steps");
    let at_start = never(root.path()).with_validate_at_start(ValidateAtStart::Whole);
    assert_eq!(train(at_start).unwrap().global_step, 15);
    let ranked = stems(&checkpoints(root.path()).join("best"));
    assert!(ranked.len() == 1 && ranked[0].starts_with("0-"), "{ranked:?}");
}

#[test]
fn a_run_that_resumes_does_not_repeat_it_and_ends_with_the_same_bytes() {
    let with = |root: &std::path::Path, at_start: ValidateAtStart| {
        config(root, 2)
            .with_strategies(keeping_steps(20))
            .with_ckpt_path("auto")
            .with_validate_at_start(at_start)
    };
    let whole = root();
    train(with(whole.path(), ValidateAtStart::Whole)).unwrap();
    let validations = [Some(3), Some(15), None];
    for (step, validation) in
        [(1, None), (5, None), (15, None)].into_iter().chain(validations.map(|at| (99, at)))
    {
        let parts = root();
        let failing =
            Script { panic_in_step: Some(step), panic_in_validation: validation, ..Script::default() };
        let failed = train_scripted(with(parts.path(), ValidateAtStart::Whole), failing);
        assert_eq!(failed.is_err(), step < 99 || validation.is_some());
        train(with(parts.path(), ValidateAtStart::Whole)).unwrap();
        compare(&run_dir(whole.path()), &run_dir(parts.path()))
            .unwrap_or_else(|reason| panic!("{step}, {validation:?}: {reason}"));
    }
}

#[test]
fn what_is_tried_leaves_nothing_and_changes_nothing() {
    for (validation, valid) in [
        (Validation::default(), burns as fn() -> Arc<dyn DataLoader<Batch>>),
        (Validation::every_n_steps(4), || shuffling(BATCH)),
    ] {
        let run = |at_start: ValidateAtStart| {
            let root = root();
            let config = config(root.path(), 2).with_validation(validation).with_validate_at_start(at_start);
            let config = config.with_strategies(keeping_steps(3));
            let trainer = Trainer::new(config, &Script::default().hparams()).unwrap();
            let training = trainer.training(shuffling(BATCH), valid()).metrics((LossMetric::new(),));
            trainer.fit(training, learner(Script::default())).unwrap();
            root
        };
        let (without, tried) = (run(ValidateAtStart::Off), run(ValidateAtStart::Batches(2)));
        compare(&run_dir(without.path()), &run_dir(tried.path())).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

#[test]
fn a_validation_that_fails_shows_before_the_first_step() {
    let root = root();
    let script = Script { panic_in_validation: Some(2), panic_in_step: Some(1), ..Script::default() };
    let config = config(root.path(), 2).with_validate_at_start(ValidateAtStart::Batches(2));
    let Err(Error::Panicked { message, .. }) = train_scripted(config.clone(), script) else { panic!() };
    assert!(message.contains("the validation step 2"), "{message}");
    let failing = ScriptedMetric::new("Bad", &[]).failing();
    let again = config.with_overwrite(true);
    let script = Script { panic_in_step: Some(1), ..Script::default() };
    let failed = train_with(again, script, |training| {
        training.metrics((LossMetric::new(),)).metric_valid_numeric(failing)
    });
    assert!(matches!(failed, Err(Error::Training { .. })), "{:?}", failed.map(|result| result.global_step));
}

#[test]
fn a_metric_that_no_validation_logs_shows_before_the_first_step() {
    let train = |primary: &str, panic_in_step: Option<usize>| {
        let root = root();
        let config = config(root.path(), 1).with_primary_metric(primary);
        let config = config.with_validate_at_start(ValidateAtStart::Batches(2));
        train_with(config, Script { panic_in_step, ..Script::default() }, |training| {
            let of_training = ScriptedMetric::new("Of Training", &[]);
            training.metrics((LossMetric::new(),)).metric_train_numeric(of_training)
        })
    };
    let Err(Error::MetricNotLogged { setting, name, logged }) = train("val_of_training", Some(1)) else {
        panic!()
    };
    assert_eq!((setting.as_str(), name.as_str()), ("primary_metric", "val_of_training"));
    assert_eq!(logged, ["val_loss"]);
    for primary in ["val_loss", "train_of_training"] {
        assert_eq!(train(primary, None).unwrap().global_step, 10);
    }
}

#[test]
fn no_batch_is_an_error_and_without_validation_it_plays_no_part() {
    let root = root();
    let (setting, _) =
        wrong_setting(train(config(root.path(), 1).with_validate_at_start(ValidateAtStart::Batches(0))));
    assert_eq!(setting, "validate_at_start");
    for at_start in [ValidateAtStart::Whole, ValidateAtStart::Batches(2)] {
        let config = config(root.path(), 1).with_primary_metric("train_loss").with_limit_valid_batches(0);
        let config = config.with_overwrite(true).with_validate_at_start(at_start);
        let script = Script { panic_in_validation: Some(1), ..Script::default() };
        assert_eq!(train_scripted(config, script).unwrap().global_step, 10);
    }
}
