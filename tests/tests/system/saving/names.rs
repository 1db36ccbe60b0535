//! Names that metrics and settings may have: a safe file name or a clear error, and never a file outside the
//! run.

use std::path::Path;

use burn_ckpt::plumbing::{MAX_NAME_BYTES, link_name};
use burn_trainer::Error;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use proptest::prelude::*;
use system_tests::models::small::{Script, ScriptedMetric};
use system_tests::run_files::{checkpoints, files, run_dir};
use system_tests::{config, train, train_scripted, train_with};

/// Trains one epoch with a metric of this name as the primary one, and returns the links.
fn links(root: &Path, metric: &str, primary: &str) -> burn_trainer::Result<Vec<String>> {
    let metric = ScriptedMetric::new(metric, &[1.0]);
    let config = config(root, 1).with_primary_metric(primary.to_owned());
    let result = train_with(config, Script::default(), |training| training.metric_valid_numeric(metric))?;
    assert!(result.failed_saves.is_empty(), "{:?}", result.failed_saves);
    let links = files(&checkpoints(root)).into_iter();
    Ok(links.filter_map(|name| name.split_once(".ckpt -> ").map(|(link, _)| link.to_owned())).collect())
}

#[test]
fn hostile_metric_names_become_safe_links_and_stay_in_the_run() {
    let long = "x".repeat(300);
    for (metric, primary, link) in [
        ("val/loss", "val_val/loss", "best_val_val_loss"),
        ("../../../escaped", "val_escaped", "best_val_escaped"),
        ("..", "val_metric", "best_val_metric"),
        ("", "val_metric", "best_val_metric"),
        ("a\nb", "val_a_b", "best_val_a_b"),
        (
            "Precision @ Threshold(0.5) [Macro]",
            "val_precision_threshold_0.5_macro",
            "best_val_precision_threshold_0.5_macro",
        ),
    ] {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("a/b/c");
        let found = links(&root, metric, primary).unwrap_or_else(|error| panic!("{metric:?}: {error}"));
        assert_eq!(found, [link, "last"], "{metric:?}");
        // Besides the run there is what has git ignore it.
        let outside = |name: &String| !name.starts_with("a/b/c/burn_trainer_logs/r1/");
        let outside: Vec<String> = files(outer.path()).into_iter().filter(outside).collect();
        assert_eq!(outside, ["a/b/c/burn_trainer_logs/.gitignore"], "{metric:?}");
    }
    let root = tempfile::tempdir().unwrap();
    let found = links(root.path(), &long, &format!("val_{long}")).unwrap();
    assert!(found[0].starts_with("best_val_xxx") && found[0].len() <= MAX_NAME_BYTES, "{found:?}");
}

#[test]
fn a_metric_can_be_written_as_burn_shows_it() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(links(root.path(), "My Score", "val/My Score").unwrap(), ["best_val_my_score", "last"]);
}

#[test]
fn an_unknown_metric_is_an_error_before_the_first_step_that_lists_the_names() {
    for primary in
        ["val_accuracy", "val_los", "loss", "", "..", "val/../loss/x", "test_loss", &"y".repeat(300)]
    {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path(), 1).with_primary_metric(primary.to_owned());
        // Were a step to be taken, it would panic.
        let script = Script { panic_in_step: Some(1), ..Script::default() };
        let result = train_scripted(config, script);
        match result.map(|_| ()) {
            Err(error @ Error::UnknownMetric { .. }) => {
                assert!(error.to_string().contains("train_loss, val_loss"), "{error}");
                let asked = error.to_string().contains("did you mean");
                assert_eq!(asked, ["loss", "val_los"].contains(&primary), "{error}");
            }
            other => panic!("{primary:?}: {other:?}"),
        }
        assert!(!run_dir(root.path()).exists());
    }
}

#[test]
fn a_metric_of_the_other_split_is_an_error_as_soon_as_that_shows() {
    let root = tempfile::tempdir().unwrap();
    let metric = ScriptedMetric::new("Score", &[1.0]);
    let config = config(root.path(), 3).with_primary_metric("train_score");
    let result = train_with(config, Script::default(), |training| training.metric_valid_numeric(metric));
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::MetricNotLogged { .. }), "{error}");
}

#[test]
fn a_metric_that_does_not_say_what_is_better_needs_a_mode() {
    let metric = || ScriptedMetric::new("Score", &[1.0]).higher_is_better(None);
    let root = tempfile::tempdir().unwrap();
    let config_for = |root: &Path| config(root, 1).with_primary_metric("val_score");
    let result = train_with(config_for(root.path()), Script::default(), |t| t.metric_valid_numeric(metric()));
    let error = result.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("mode") && error.contains("min"), "{error}");

    let root = tempfile::tempdir().unwrap();
    let best = Best::new().with_mode(burn_ckpt::retention::MetricMode::Max);
    let config = config_for(root.path()).with_strategies([StrategyConfig::Best(best)]);
    train_with(config, Script::default(), |t| t.metric_valid_numeric(metric())).unwrap();
    assert!(checkpoints(root.path()).join("best_val_score.ckpt").exists());
}

#[test]
fn an_unknown_field_of_a_file_name_is_an_error_before_training() {
    let root = tempfile::tempdir().unwrap();
    let last = Last::new().with_filename("{epoch}-{val_accuracy}");
    let error =
        train(config(root.path(), 1).with_strategies([StrategyConfig::Last(last)])).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("val_accuracy") && text.contains("epoch, step, duration, train_loss, val_loss"),
        "{text}"
    );
    assert!(!run_dir(root.path()).exists());
}

#[test]
fn two_strategies_of_one_name_are_an_error() {
    let root = tempfile::tempdir().unwrap();
    let last = || StrategyConfig::Last(Last::default());
    let error = train(config(root.path(), 1).with_strategies([last(), last()])).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("last"), "{error}");
}

proptest! {
    #[test]
    fn any_name_is_one_file_name_or_an_error(name in any::<String>()) {
        let has_a_letter_or_digit = name.contains(char::is_alphanumeric);
        match link_name(&name) {
            Ok(link) => {
                prop_assert!(has_a_letter_or_digit);
                prop_assert_eq!(Path::new(&link).components().count(), 1);
                prop_assert!(link.len() <= MAX_NAME_BYTES + ".ckpt".len());
                prop_assert!(!link.starts_with('.') && !link.contains(['/', '\\', '\0', '\n']));
            }
            Err(error) => {
                let is_name = matches!(error, burn_ckpt::Error::Name { .. });
                prop_assert!(is_name && !has_a_letter_or_digit, "{:?}", error);
            }
        }
    }
}
