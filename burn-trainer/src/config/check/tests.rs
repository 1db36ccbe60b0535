//! Which configurations are rejected.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::InitFrom;
use crate::strategy::{Best, MetricConfig, MetricMode, OnException};

fn setting(config: TrainerConfig) -> String {
    match config.check() {
        Err(Error::Config { setting, reason }) => format!("{setting}: {reason}"),
        other => panic!("{other:?}"),
    }
}

fn primary() -> TrainerConfig {
    TrainerConfig::new().with_primary_metric("val_loss")
}

fn names(config: TrainerConfig, expected: &str) {
    let found = setting(config);
    assert_eq!(found.split(':').next(), Some(expected), "{found}");
}

#[test]
fn what_contradicts_itself_is_an_error_that_names_the_setting() {
    names(primary().with_best(Best::new()).with_strategies([]), "strategies");
    names(primary().with_best(Best::new().with_topk(0)), "best.topk");
    names(TrainerConfig::new().with_best(Best::new()), "best.metric");
    let lowest = MetricConfig::new("val_loss").with_mode(MetricMode::Min);
    let best = Best::new().with_mode(MetricMode::Max);
    names(TrainerConfig::new().with_best(best.clone().with_metric(lowest.clone())), "best.mode");
    names(TrainerConfig::new().with_primary_metric(lowest).with_best(best), "best.mode");
    let last = StrategyConfig::Last(Last::new().with_every_n_steps(0));
    names(primary().with_strategies([last]), "strategies.0.every_n_steps");
}

#[test]
fn a_strategy_that_would_never_save_is_an_error() {
    let never = Last::new().with_every_epoch(false);
    names(primary().with_last(never.clone()), "last.every_epoch");
    names(
        TrainerConfig::new().with_strategies([StrategyConfig::Last(never.clone())]),
        "strategies.0.every_epoch",
    );
    names(
        primary().with_last(Last::new().with_save_on_time_interval(Duration::ZERO)),
        "last.save_on_time_interval",
    );
    names(
        primary().with_on_exception(OnException::new().with_timeout_seconds(0.0)),
        "on_exception.timeout_seconds",
    );
    for trigger in
        [never.clone().with_every_n_steps(1), never.with_save_on_time_interval(Duration::from_secs(1))]
    {
        assert!(primary().with_last(trigger).check().is_ok());
    }
}

#[test]
fn a_number_of_epochs_that_no_run_has_is_an_error() {
    for epochs in [0, MAX_EPOCHS + 1, usize::MAX] {
        names(primary().with_max_epochs(epochs), "max_epochs");
    }
    assert!(primary().with_max_epochs(MAX_EPOCHS).check().is_ok());
}

#[test]
fn a_home_directory_that_no_shell_has_replaced_is_an_error() {
    for path in ["~", "~/x", "~user/x", "~x"] {
        names(primary().with_root(path), "root");
        names(primary().with_logs(path), "logs");
        names(primary().with_ckpt_path(path), "ckpt_path");
        names(primary().with_best(Best::new().with_dirpath(path)), "best.dirpath");
        names(primary().with_last(Last::new().with_dirpath(path)), "last.dirpath");
        names(primary().with_on_exception(OnException::new().with_dirpath(path)), "on_exception.dirpath");
    }
    for path in ["./~", "a/~/b", "/~", "a~"] {
        assert!(primary().with_root(path).check().is_ok(), "{path}");
    }
}

#[test]
fn tags_and_notes_have_limits() {
    let tags = |tags: Vec<String>| primary().with_tags(tags);
    assert!(tags(vec!["t".repeat(256); 1000]).check().is_ok());
    names(tags(vec!["t".to_owned(); 1001]), "tags");
    for tag in ["", " ", "a\nb", "\u{1b}[2J", "=v", " =v", "=", &"t".repeat(257)] {
        names(tags(vec![tag.to_owned()]), "tags");
    }
    assert!(tags(vec!["k=".to_owned(), "k=v=w".to_owned()]).check().is_ok());
    assert!(primary().with_notes("n".repeat(64 * 1024)).check().is_ok());
    names(primary().with_notes("n".repeat(64 * 1024 + 1)), "notes");
    assert!(primary().with_name("n".repeat(256)).with_project("p").check().is_ok());
    for text in ["", "a\nb", &"n".repeat(257)] {
        names(primary().with_name(text), "name");
        names(primary().with_project(text), "project");
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/tmp/\xff"));
    names(primary().with_root(path.clone()), "root");
    names(primary().with_best(Best::new().with_dirpath(path)), "best.dirpath");
}

#[test]
fn settings_that_cannot_work_are_errors_before_anything_is_made() {
    let remap = InitFrom::new("a.ckpt").with_remap("(", "b");
    for (config, setting, says) in [
        (TrainerConfig::new().with_trackers(["wandb"]), "trackers", "the trackers are csv, mlflow"),
        (TrainerConfig::new().with_init_from(remap), "init_from.remap", "\"(\""),
        (
            TrainerConfig::new().with_slurm_requeue(true).with_handle_signals(false),
            "slurm_requeue",
            "handle_signals is off",
        ),
    ] {
        let Err(Error::Config { setting: named, reason }) = config.check() else { panic!("{setting}") };
        assert!(named == setting && reason.contains(says), "{named}: {reason}");
    }
}
