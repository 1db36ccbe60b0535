//! After which steps a run validates, and what follows each validation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::data::dataloader::DataLoader;
use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Learner};
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, EarlyStopping, ReduceOnPlateau};
use burn_trainer::config::{ProgressMode, Validation};
use burn_trainer::strategy::{Best, MetricMode, StrategyConfig, TopK};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::models::small::{
    BATCH, Batch, Model, Script, ScriptedMetric, config, learner, loader, shuffling, train, train_by,
    train_with, train_with_strategy,
};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::{checkpoints, metadata, stems};

use super::{root, wrong_setting};

const HOUR: Duration = Duration::from_hours(1);

/// Notes the steps that are validated, in which epoch.
#[derive(Clone, Default)]
struct Validated(Arc<Mutex<Vec<(u64, u64)>>>);

impl Callback<Model> for Validated {
    fn name(&self) -> String {
        "validated".to_owned()
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        assert!(context.is_logged("val_loss"));
        self.0.lock().push((context.epoch(), context.global_step()));
        Ok(())
    }
}

/// The steps that are validated in two epochs of ten batches, a loader's, with so many in a step.
fn validated(
    set_up: impl FnOnce(TrainerConfig) -> TrainerConfig,
    data: &dyn Fn() -> Arc<dyn DataLoader<Batch>>,
    accumulation: usize,
) -> Result<Vec<(u64, u64)>> {
    let (root, seen) = (root(), Validated::default());
    let trainer = Trainer::new(set_up(config(root.path(), 2)), &())?.callback(seen.clone());
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    let training = if accumulation > 1 { training.grads_accumulation(accumulation) } else { training };
    trainer.fit(training, learner(Script::default()))?;
    let seen = seen.0.lock().clone();
    Ok(seen)
}

type SetUp = fn(TrainerConfig) -> TrainerConfig;

fn resumable() -> Arc<dyn DataLoader<Batch>> {
    shuffling(BATCH)
}

#[test]
fn each_schedule_validates_its_steps() {
    for (validation, accumulation, expected) in [
        (Validation::default(), 1, vec![(0, 10), (1, 20)]),
        (Validation::every_n_epochs(1), 1, vec![(0, 10), (1, 20)]),
        (Validation::every_n_epochs(2), 1, vec![(1, 20)]),
        (Validation::every_n_steps(7), 1, vec![(0, 7), (1, 14)]),
        (Validation::every_n_steps(5), 1, vec![(0, 5), (0, 10), (1, 15), (1, 20)]),
        (Validation::epoch_fraction(0.5), 1, vec![(0, 5), (0, 10), (1, 15), (1, 20)]),
        (Validation::epoch_fraction(0.4), 1, vec![(0, 4), (0, 8), (1, 14), (1, 18)]),
        (Validation::every(Duration::from_hours(1)), 1, vec![]),
        (Validation::every(Duration::from_nanos(1)), 4, (1..=6).map(|step| ((step - 1) / 3, step)).collect()),
        // Of ten batches: two steps of four, and one of two.
        (Validation::every_n_steps(2), 4, vec![(0, 2), (1, 4), (1, 6)]),
        (Validation::epoch_fraction(0.25), 4, vec![(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 6)]),
    ] {
        let set_up = |config: TrainerConfig| config.with_validation(validation);
        let seen = validated(set_up, &resumable, accumulation).unwrap();
        assert_eq!(seen, expected, "{validation:?}, {accumulation}");
    }
}

#[test]
fn a_part_of_an_epoch_is_one_of_the_batches_that_are_used() {
    let set_up = |config: TrainerConfig| {
        config.with_validation(Validation::epoch_fraction(0.5)).with_limit_train_batches(4)
    };
    let seen = validated(set_up, &resumable, 1).unwrap();
    assert_eq!(seen, [(0, 2), (0, 4), (1, 6), (1, 8)]);
    let with = |set_up: fn(TrainerConfig) -> TrainerConfig, data: &dyn Fn() -> Arc<dyn DataLoader<Batch>>| {
        validated(|config| set_up(config.with_validation(Validation::epoch_fraction(0.5))), data, 1)
    };
    // Without validation it plays no part.
    let left_out =
        |config: TrainerConfig| config.with_limit_valid_batches(0).with_primary_metric("train_loss");
    assert!(with(left_out, &resumable).unwrap().is_empty());
    let unknown = || loader(&Script::default());
    let Err(Error::Config { setting, reason }) = with(|config| config, &unknown) else { panic!() };
    assert!(
        setting == "validation.epoch_fraction" && reason.contains("every_n_steps"),
        "{setting}: {reason}"
    );
}

#[test]
fn settings_that_cannot_be_are_errors_before_the_first_step() {
    let patience = EarlyStopping::new("val_loss");
    let set_ups: [(Validation, SetUp, &str); 7] = [
        (Validation::every_n_steps(0), |config| config, "validation.every_n_steps"),
        (Validation::epoch_fraction(1.5), |config| config, "validation.epoch_fraction"),
        (Validation::epoch_fraction(f64::NAN), |config| config, "validation.epoch_fraction"),
        (Validation::every(Duration::ZERO), |config| config, "validation.every"),
        (Validation::every_n_epochs(0), |config| config, "validation.every_n_epochs"),
        // The run would end before its first validation.
        (Validation::every_n_epochs(3), |config| config, "validation.every_n_epochs"),
        (Validation::every_n_steps(6), |config| config.with_max_steps(5), "validation.every_n_steps"),
    ];
    for (validation, set_up, setting) in set_ups {
        let root = root();
        let config = set_up(config(root.path(), 2)).with_validation(validation);
        assert_eq!(wrong_setting(train(config)).0, setting, "{validation:?}");
    }
    // Nothing depends on a metric of the validation.
    let root = root();
    let quiet = config(root.path(), 2).with_validation(Validation::every_n_epochs(3));
    let by_training = quiet.clone().with_primary_metric("train_loss");
    assert_eq!(train(by_training.clone()).unwrap().epochs, 2);
    let looked_at = by_training.with_early_stopping(patience).with_overwrite(true);
    let (setting, reason) = wrong_setting(train(looked_at));
    assert!(setting == "validation.every_n_epochs" && reason.contains("val_loss"), "{reason}");
    let both = r#"{"validation": {"every_n_steps": 5, "every": "10m"}}"#;
    let both: TrainerConfig = serde_json::from_str(both).unwrap();
    let (setting, reason) = wrong_setting(train(both.with_root(root.path()).with_run_id("r2")));
    assert!(setting == "validation" && reason.contains("epoch_fraction"), "{reason}");
    let (setting, _) = wrong_setting(train_with_strategy(
        config(root.path(), 2).with_run_id("r3").with_validation(Validation::every_n_steps(5)),
        ExecutionStrategy::single(system_tests::backend::device().autodiff()),
    ));
    assert_eq!(setting, "validation");
}

/// Trains with a plateau on `val_loss`, with data whose length the loader says.
fn with_plateau(config: TrainerConfig) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &()).unwrap().callback(ReduceOnPlateau::new("val_loss"));
    let training = trainer.training(resumable(), resumable()).metrics((LossMetric::new(),));
    let model = Model::new(Script::default(), &system_tests::backend::device().autodiff());
    let rate = burn_trainer::lr_scheduler::scaled(1e-2);
    trainer.fit(training, Learner::new(model, AdamConfig::new().init(), rate))
}

#[test]
fn a_plateau_on_a_validation_that_is_left_out_or_never_due_is_an_error_before_the_first_step() {
    let set_ups: [(SetUp, &[&str]); 4] = [
        (|config| config.with_limit_valid_batches(0), &["limit_valid_batches"]),
        (
            |config| config.with_validation(Validation::every_n_steps(1000)).with_max_steps(5),
            &["validation.every_n_steps is 1000", "max_steps is 5"],
        ),
        (
            |config| config.with_validation(Validation::every_n_epochs(3)),
            &["validation.every_n_epochs is 3", "max_epochs is 2"],
        ),
        (
            |config| config.with_validation(Validation::every(HOUR * 2)).with_max_time(HOUR),
            &["validation.every is 2 h", "max_time is 1 h"],
        ),
    ];
    for (set_up, words) in set_ups {
        let root = root();
        let config = set_up(config(root.path(), 2)).with_primary_metric("train_loss");
        let Err(Error::Callback { name, method, source, .. }) = with_plateau(config) else {
            panic!("{words:?}")
        };
        assert_eq!((name.as_str(), method), ("reduce_on_plateau", "on_fit_start"));
        let reason = source.to_string();
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    }
}

/// Has the directory, in the process that the test starts.
const NEVER_DUE: &str = "TEST_VALIDATION_THAT_IS_NEVER_DUE_IN";

#[test]
fn what_looks_at_a_validation_that_does_not_come_says_it() {
    let Some(root) = std::env::var_os(NEVER_DUE) else {
        let root = root();
        let test = "what_looks_at_a_validation_that_does_not_come_says_it";
        let said = said_alone(module_path!(), test, NEVER_DUE, root.path());
        let before = |said: &str, words: &str| said.split(words).next().unwrap().to_owned();
        let [known, unknown, looked_at, _] = said.split("NEXT").collect::<Vec<_>>()[..] else {
            panic!("{said}")
        };
        // An epoch has ten steps, and the run ends after five: said before the first one.
        let start = before(known, "epoch 1/2 train");
        for who in ["a strategy", "early_stopping", "reduce_on_plateau"] {
            let warning =
                format!("warning: {who} looks at val_loss, and the run ends before its first validation");
            assert_eq!(known.matches(&warning).count(), 1, "{known}");
            assert_eq!(start.matches(&warning).count(), 1, "{known}");
            assert_eq!(looked_at.matches("looks at val_loss").count(), 0, "{looked_at}");
        }
        assert!(start.contains("max_steps is 5") && start.contains("has 10 batches"), "{start}");
        // How long a step takes is not known before.
        for who in ["early_stopping", "reduce_on_plateau"] {
            let warning = format!(
                "warning: {who} looks at val_loss, and the run has ended before its first validation"
            );
            assert_eq!(unknown.matches(&warning).count(), 1, "{unknown}");
        }
        return;
    };
    let run = |id: &str, set_up: SetUp| {
        let config = config(Path::new(&root), 2).with_run_id(id).with_primary_metric("val_loss");
        let config =
            config.with_early_stopping(EarlyStopping::new("val_loss")).with_progress(ProgressMode::Plain);
        with_plateau(set_up(config)).unwrap();
        eprintln!("NEXT");
    };
    run("known", |config| config.with_max_steps(5));
    run("unknown", |config| config.with_validation(Validation::every(HOUR)));
    run("looked-at", |config| config.with_max_steps(10));
}

/// Trains two epochs, validated every five steps, with a metric `val_score` that has these values.
fn scored(root: &Path, scores: &[f64], early_stopping: Option<EarlyStopping>) -> FitResult<Model> {
    let mut config =
        config(root, 2).with_primary_metric("val_score").with_validation(Validation::every_n_steps(5));
    config.early_stopping = early_stopping;
    let best = Best::new().with_mode(MetricMode::Min).with_topk(TopK::Count(2));
    let config =
        config.with_strategies([StrategyConfig::Best(best), StrategyConfig::Last(Default::default())]);
    let metric = ScriptedMetric::new("Score", scores);
    train_with(config, Script::default(), |training| training.metric_valid_numeric(metric)).unwrap()
}

#[test]
fn the_best_checkpoint_is_that_of_the_best_validation() {
    let root = root();
    scored(root.path(), &[3.0, 4.0, 1.0, 2.0], None);
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=1-step=15", "epoch=1-step=20"]);
    let best = metadata(&checkpoints(root.path()).join("best_val_score.ckpt"));
    assert_eq!((&best["global_step"], &best["metrics"]["val_score"]), (&15.into(), &1.0.into()));
}

#[test]
fn patience_counts_validations_and_min_epochs_counts_epochs() {
    let patience = || EarlyStopping::new("val_score").with_mode(MetricMode::Min).with_patience(2);
    let (first, second) = (root(), root());
    let result = scored(first.path(), &[1.0, 2.0, 3.0, 4.0], Some(patience()));
    assert!(result.outcome.is_early_stop());
    assert_eq!((result.global_step, result.epochs), (15, 1));
    assert!(result.outcome.end_reason().unwrap().to_string().contains("2 validations"));
    // The state is validated, and saved with its metrics.
    let last = metadata(&checkpoints(first.path()).join("last.ckpt"));
    assert_eq!(last["metrics"]["val_score"], 3.0);
    let mut config =
        config(second.path(), 2).with_min_epochs(2).with_validation(Validation::every_n_steps(5));
    config.early_stopping = Some(patience());
    let metric = ScriptedMetric::new("Score", &[1.0, 2.0, 3.0, 4.0]);
    let config = config.with_primary_metric("val_score");
    let result =
        train_with(config, Script::default(), |training| training.metric_valid_numeric(metric)).unwrap();
    assert_eq!((result.global_step, result.epochs, result.outcome.is_early_stop()), (20, 2, true));
}

#[test]
fn a_metric_of_the_training_is_ranked_and_looked_at_at_the_ends_of_epochs() {
    let root = root();
    let mut config = config(root.path(), 3).with_validation(Validation::every_n_steps(4));
    config.early_stopping = Some(EarlyStopping::new("train_loss").with_min_delta(1e9).with_patience(1));
    let best = Best::new().with_metric("train_loss").with_topk(TopK::All);
    let config = config.with_strategies([StrategyConfig::Best(best)]);
    let result = train_by(config, Script::default(), |trainer| trainer).unwrap();
    assert_eq!(result.epochs, 2);
    assert!(result.outcome.end_reason().unwrap().to_string().ends_with("for 1 epoch"));
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["epoch=0-step=10", "epoch=1-step=20"]);
}
