//! Early stopping of the configuration: when it ends a run, and that it resumes.

use std::path::Path;

use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::MetricMode;
use burn_trainer::callbacks::EarlyStopping;
use burn_trainer::config::Validation;
use burn_trainer::strategy::{Last, MetricConfig};
use burn_trainer::{EndReason, Error, FitResult, Result, TrainerConfig};
use system_tests::models::small::{Model, Script, ScriptedMetric, config, train_scripted, train_with};
use system_tests::run_files::{compare, in_memory, run_dir};

/// Trains with a metric `val_score` of these values, one for each epoch.
fn scored(config: TrainerConfig, scores: &[f64]) -> Result<FitResult<Model>> {
    let metric = ScriptedMetric::new("Score", scores);
    train_with(config, Script::default(), |training: SupervisedTraining<Model>| {
        training.metric_valid_numeric(metric)
    })
}

fn settings(root: &Path, early_stopping: EarlyStopping) -> TrainerConfig {
    let config = config(root, 8).with_primary_metric("val_score").with_ckpt_path("auto");
    config.with_early_stopping(early_stopping)
}

/// How many epochs are trained, and why the run ended.
fn ended(early_stopping: EarlyStopping, scores: &[f64]) -> (u64, Option<String>) {
    let root = in_memory();
    let result = scored(settings(root.path(), early_stopping), scores).unwrap();
    assert_eq!(result.outcome.is_early_stop(), result.outcome.end_reason().is_some());
    let reason = result.outcome.end_reason().map(|reason| match reason {
        EndReason::EarlyStopping(reason) => reason.clone(),
        other => panic!("{other:?}"),
    });
    (result.epochs, reason)
}

fn score() -> EarlyStopping {
    EarlyStopping::new("val_score").with_mode(MetricMode::Min)
}

/// The same metric, with its direction.
fn lowest() -> MetricConfig {
    MetricConfig::new("val_score").with_mode(MetricMode::Min)
}

#[test]
fn it_ends_the_run_when_the_metric_has_not_improved_for_so_many_epochs() {
    let scores = [5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 2.0, 1.0];
    let (epochs, reason) = ended(score().with_patience(3), &scores);
    assert_eq!(epochs, 5);
    assert_eq!(reason.unwrap(), "val_score has not improved for 3 validations");
    assert_eq!(ended(EarlyStopping::new(lowest()).with_patience(3), &scores).0, 5);
    assert_eq!(ended(score().with_patience(4), &scores), (8, None));
    assert_eq!(ended(score().with_patience(2).with_min_delta(1.5), &scores).0, 3);
    assert_eq!(ended(score().with_mode(MetricMode::Max).with_patience(1), &scores).0, 2);
}

#[test]
fn a_value_that_is_good_enough_or_not_a_number_ends_it_at_once() {
    let nan = [5.0, f64::NAN, 4.0, 3.0, 2.0, 1.0, 0.5, 0.1];
    let (epochs, reason) = ended(score(), &nan);
    assert!(epochs == 2 && reason.unwrap().contains("NaN"));
    assert_eq!(ended(score().with_check_finite(false), &nan).0, 8);
    let (epochs, reason) = ended(score().with_threshold(2.5).with_check_finite(false), &nan);
    assert!(epochs == 5 && reason.unwrap().contains("2.5 is good enough"));
}

#[test]
fn a_value_that_is_worse_than_the_divergence_threshold_ends_it_at_once() {
    let scores = [5.0, 4.0, 6.0, 6.5, 3.0, 2.0, 1.0, 0.5];
    let (epochs, reason) = ended(score().with_divergence_threshold(6.0), &scores);
    assert_eq!(epochs, 4, "6.0 itself is not worse");
    assert_eq!(reason.unwrap(), "val_score is 6.5, which is worse than the divergence threshold 6");
    let highest = score().with_mode(MetricMode::Max).with_patience(8).with_divergence_threshold(3.0);
    assert_eq!(ended(highest, &scores).0, 6);
    assert_eq!(ended(score().with_divergence_threshold(7.0), &scores).0, 8);
}

#[test]
fn it_stays_ended_and_continues_with_more_patience() {
    let scores = [5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 2.0, 1.0];
    let root = in_memory();
    let with = |patience: u64, done: usize| {
        // The metric is scripted by the epochs of a process.
        scored(settings(root.path(), score().with_patience(patience)), &scores[done..]).unwrap()
    };
    assert_eq!(with(2, 0).epochs, 4);
    let again = with(2, 4);
    assert!(again.finished_before && again.outcome.is_early_stop() && again.outcome.end_reason().is_some());
    // One more epoch without an improvement is the third.
    assert_eq!(with(3, 4).epochs, 5);
    assert_eq!(with(4, 5).epochs, 8);
}

#[test]
fn a_stop_before_the_least_number_of_epochs_is_forgotten() {
    let scores = [1.0, 2.0, 3.0, 0.5, 0.4, 0.3, 0.2, 0.1];
    let root = in_memory();
    let config = settings(root.path(), score().with_patience(2)).with_min_epochs(5);
    assert_eq!(scored(config, &scores).unwrap().epochs, 8);
}

/// Trains with early stopping that asks for an end after each validation. Each step is saved.
fn asking(config: TrainerConfig, panic_in_step: Option<usize>) -> Result<(u64, bool)> {
    let config = config
        .with_ckpt_path("auto")
        .with_early_stopping(EarlyStopping::new("val_loss").with_threshold(f64::MAX))
        .with_last(Last::new().with_every_n_steps(1));
    let result = train_scripted(config, Script { panic_in_step, ..Script::default() })?;
    Ok((result.global_step, result.outcome.is_early_stop()))
}

#[test]
fn a_stop_that_came_too_early_is_forgotten_by_a_resumed_run_too() {
    type Limits = fn(TrainerConfig) -> TrainerConfig;
    let by_epochs: Limits = |config| config.with_min_epochs(3).with_validation(Validation::every_n_epochs(2));
    let by_steps: Limits = |config| config.with_min_steps(14).with_validation(Validation::every_n_steps(4));
    // Validated after the steps 20 and 40, and 12 and 16.
    for (limits, end, failures) in [(by_epochs, 40, [24, 32, 40]), (by_steps, 16, [13, 14, 16])] {
        let whole = in_memory();
        assert_eq!(asking(limits(config(whole.path(), 6)), None).unwrap(), (end, true));
        for step in failures {
            let parts = in_memory();
            asking(limits(config(parts.path(), 6)), Some(step)).unwrap_err();
            let resumed = asking(limits(config(parts.path(), 6)), None).unwrap();
            assert_eq!(resumed, (end, true), "resumed after step {step} has failed");
            compare(&run_dir(whole.path()), &run_dir(parts.path()))
                .unwrap_or_else(|reason| panic!("{step}: {reason}"));
            let again = asking(limits(config(parts.path(), 6)), None).unwrap();
            assert_eq!(again, (end, true), "it stays ended");
        }
    }
}

#[test]
fn what_it_has_seen_of_another_metric_or_direction_is_not_used() {
    let trained = |first: EarlyStopping, second: EarlyStopping| {
        let root = in_memory();
        let train = |early_stopping, epochs: usize, scores: &[f64]| {
            let score = ScriptedMetric::new("Score", scores);
            let config = settings(root.path(), early_stopping).with_max_epochs(epochs);
            train_with(config, Script::default(), |training| {
                training.metrics((LossMetric::new(),)).metric_valid_numeric(score)
            })
        };
        train(first, 2, &[90.0, 80.0]).unwrap();
        train(second, 4, &[70.0, 75.0]).unwrap().epochs
    };
    let loss = EarlyStopping::new("val_loss").with_patience(5).with_divergence_threshold(60.0);
    assert_eq!(trained(score(), loss), 4, "80 is not the loss");
    let highest = score().with_mode(MetricMode::Max).with_patience(1);
    assert_eq!(trained(score(), highest.clone()), 4, "the lowest is not the best of the highest");
    assert_eq!(trained(highest.clone().with_patience(9), highest), 2, "the same with less patience");
}

#[test]
fn a_new_run_that_would_end_before_its_first_step_is_an_error_and_leaves_nothing() {
    let root = in_memory();
    let stopping = || score().with_patience(1);
    assert_eq!(scored(settings(root.path(), stopping()), &[1.0, 2.0]).unwrap().epochs, 2);
    let newest = run_dir(root.path()).join("last");
    let other = |early_stopping| {
        let config = settings(root.path(), early_stopping).with_run_id("other");
        scored(config.with_ckpt_path(newest.display().to_string()), &[3.0; 6])
    };
    let Err(Error::Config { setting, reason }) = other(stopping()) else { panic!("it must not be done") };
    assert_eq!(setting, "ckpt_path");
    let why =
        "of the run r1 ends the run before its first step (val_score has not improved for 1 validation)";
    assert!(reason.contains(why) && reason.contains("init_from"), "{reason}");
    let saved = run_dir(root.path()).with_file_name("other").join("checkpoint");
    assert!(!saved.exists() || system_tests::run_files::files(&saved).is_empty());
    assert_eq!(other(score().with_patience(9)).unwrap().epochs, 8);
}

#[test]
fn with_another_threshold_the_run_continues() {
    let scores = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3];
    let root = in_memory();
    let with = |threshold: f64, done: usize| {
        scored(settings(root.path(), score().with_threshold(threshold)), &scores[done..]).unwrap()
    };
    assert_eq!(with(3.0, 0).epochs, 3);
    assert!(with(3.0, 3).finished_before);
    assert_eq!(with(0.9, 3).epochs, 6);
}

#[test]
fn settings_that_cannot_be_are_errors_before_the_first_step_that_name_the_choices() {
    let wrong = |early_stopping: EarlyStopping, mode: Option<bool>| {
        let root = in_memory();
        let metric = ScriptedMetric::new("Score", &[1.0]).higher_is_better(mode);
        let script = Script { panic_in_step: Some(1), ..Script::default() };
        let config = settings(root.path(), early_stopping).with_primary_metric("val_loss");
        let set_up = |training: SupervisedTraining<Model>| {
            training.metrics((LossMetric::new(),)).metric_valid_numeric(metric)
        };
        let result = train_with(config, script, set_up);
        assert!(!run_dir(root.path()).exists(), "a start that fails leaves nothing");
        result.map(|_| ()).unwrap_err()
    };
    let Error::UnknownMetric { setting, name, known } = wrong(EarlyStopping::new("val_los"), Some(false))
    else {
        panic!()
    };
    assert_eq!((setting.as_str(), name.as_str()), ("early_stopping.metric", "val_los"));
    assert!(known.iter().any(|known| known == "val_score"), "{known:?}");
    let undirected = wrong(EarlyStopping::new("val_score"), None);
    assert!(
        matches!(&undirected, Error::Config { setting, .. } if setting == "early_stopping.mode"),
        "{undirected}"
    );
    let setting = |early_stopping: EarlyStopping| {
        let root = in_memory();
        let config = settings(root.path(), early_stopping).with_limit_valid_batches(1);
        let Err(Error::Config { setting, .. }) = scored(config, &[1.0; 8]) else { panic!() };
        setting
    };
    assert_eq!(setting(score().with_patience(0)), "early_stopping.patience");
    assert_eq!(setting(score().with_min_delta(-1.0)), "early_stopping.min_delta");
    assert_eq!(setting(score().with_threshold(f64::NAN)), "early_stopping.threshold");
    let divergence = score().with_divergence_threshold(f64::INFINITY);
    assert_eq!(setting(divergence), "early_stopping.divergence_threshold");
    let highest = MetricConfig::new("val_score").with_mode(MetricMode::Max);
    assert_eq!(setting(EarlyStopping::new(highest).with_mode(MetricMode::Min)), "early_stopping.mode");
}

#[test]
fn a_metric_of_the_other_split_is_an_error_at_the_first_batch_of_its_split() {
    let failed = |metric: &str, script: Script| {
        let root = in_memory();
        let config = config(root.path(), 2).with_early_stopping(EarlyStopping::new(metric));
        let score = || ScriptedMetric::new("Score", &[1.0]);
        let result = train_with(config, script, |training| {
            let training = training.metrics((LossMetric::new(),));
            match metric {
                "train_score" => training.metric_valid_numeric(score()),
                _ => training.metric_train_numeric(score()),
            }
        });
        let Err(error @ Error::MetricNotLogged { .. }) = result.map(|_| ()) else { panic!() };
        assert!(error.to_string().contains("early_stopping.metric"), "{error}");
        assert!(error.to_string().contains(metric), "{error}");
    };
    // The second batch would panic.
    failed("train_score", Script { panic_in_step: Some(2), ..Script::default() });
    failed("val_score", Script { panic_in_validation: Some(3), ..Script::default() });
}

#[test]
fn it_is_read_from_json() {
    let json = r#"{"early_stopping": {"metric": "val_score", "mode": "min", "patience": 2}}"#;
    let config: TrainerConfig = serde_json::from_str(json).unwrap();
    assert_eq!(config.early_stopping.unwrap(), score().with_patience(2));
    let json = r#"{"early_stopping": {"metric": {"name": "val_score", "mode": "min"}}}"#;
    let config: TrainerConfig = serde_json::from_str(json).unwrap();
    assert_eq!(config.early_stopping.unwrap(), EarlyStopping::new(lowest()));
    let error = serde_json::from_str::<TrainerConfig>(r#"{"early_stopping": {"metric": "a", "wait": 2}}"#);
    assert!(error.unwrap_err().to_string().contains("wait"));
}
