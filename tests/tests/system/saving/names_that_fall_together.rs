//! Metrics whose names make one file, links whose names do, and runs that take one name in a shared
//! directory: each has its own, or it is an error that names both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{
    Best, CheckpointOutput, Last, RunProgress, SaveDecision, Strategy, StrategyConfig, TrainingEvent,
};
use burn_trainer::{Error, Trainer};
use serde_json::Value;
use system_tests::models::small::{Model, Script, ScriptedMetric, learner, loader};
use system_tests::run_files::{checkpoints, files, leftovers, metadata, run_dir, stems};
use system_tests::{config, train, train_with};

/// The metric files of an epoch's validation, and the value in the last line of each. All have a line for
/// each batch and one for the epoch.
fn valid_files(root: &Path, epoch: usize) -> Vec<(String, String)> {
    let directory = run_dir(root).join(format!("valid/epoch-{epoch}"));
    let mut lengths = BTreeSet::new();
    let mut value = |name: &String| {
        let text = fs::read_to_string(directory.join(name)).unwrap();
        lengths.insert(text.lines().count());
        text.lines().last().unwrap().trim_end_matches(",final").to_owned()
    };
    let found = files(&directory).into_iter().map(|name| (name.clone(), value(&name))).collect();
    assert_eq!(lengths.len(), 1, "{lengths:?}");
    found
}

/// Trains with these metrics, each with its scores, in this order.
fn train_named(root: &Path, epochs: usize, resume: bool, metrics: &[(&str, &[f64])]) {
    let best = |metric: &str| StrategyConfig::Best(Best::new().with_metric(metric));
    let strategies =
        [best("val_score/a"), best("val_score_a"), best("val/score-a"), StrategyConfig::Last(Last::new())];
    let mut config = config(root, epochs).with_primary_metric("val_score_a").with_strategies(strategies);
    if resume {
        config = config.with_ckpt_path("last");
    }
    let set_up = |mut training: SupervisedTraining<Model>| {
        for (name, scores) in metrics {
            training = training.metric_valid_numeric(ScriptedMetric::new(name, scores));
        }
        training
    };
    let result = train_with(config, Script::default(), set_up).unwrap();
    assert!(result.failed_saves.is_empty(), "{:?}", result.failed_saves);
}

#[test]
fn metrics_whose_names_make_one_file_have_files_links_and_values_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    train_named(
        root.path(),
        2,
        false,
        &[("score/a", &[1.0, 5.0]), ("score_a", &[4.0, 3.0]), ("score-a", &[7.0, 8.0])],
    );
    let first = valid_files(root.path(), 1);
    // burn's readers find the one whose name is the file's; the other has a digest of its name.
    let plain: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let other =
        *plain.iter().find(|name| name.starts_with("score_a-")).unwrap_or_else(|| panic!("{plain:?}"));
    let other = other.to_owned();
    let of = |first: &[(String, String)], name: &str| {
        first.iter().find(|(file, _)| file == name).unwrap().1.clone()
    };
    assert_eq!(
        (of(&first, "score_a.log"), of(&first, &other), of(&first, "score-a.log")),
        ("4".into(), "1".into(), "7".into())
    );

    let directory = checkpoints(root.path());
    let links = || -> Vec<(String, String)> {
        let links = files(&directory).into_iter().filter(|name| name.starts_with("best_"));
        let links =
            links.filter_map(|link| link.split_once(".ckpt -> ").map(|(a, b)| (a.to_owned(), b.to_owned())));
        links.collect()
    };
    let before = links();
    let names: BTreeSet<&str> = before.iter().map(|(link, _)| link.as_str()).collect();
    assert_eq!(names.len(), 3, "{before:?}");
    assert!(names.contains("best_val_score_a"), "{before:?}");
    let target = |name: &str| before.iter().find(|(link, _)| link == name).unwrap().1.clone();
    assert!(target("best_val_score_a").contains("epoch=1"), "{before:?}");
    let metrics = metadata(&directory.join("last.ckpt"))["metrics"].clone();
    assert_eq!(metrics["val_score_a"], 3.0);
    let all: BTreeSet<String> = metrics.as_object().unwrap().values().map(Value::to_string).collect();
    assert_eq!(all, ["3.0", "5.0", "8.0"].map(str::to_owned).into());

    // Another order of the metrics, in a later process, changes no name.
    train_named(root.path(), 3, true, &[("score_a", &[9.0]), ("score-a", &[6.0]), ("score/a", &[2.0])]);
    let third = valid_files(root.path(), 3);
    assert_eq!(
        (of(&third, "score_a.log"), of(&third, &other), of(&third, "score-a.log")),
        ("9".into(), "2".into(), "6".into())
    );
    let after = links();
    assert_eq!(after.iter().map(|(link, _)| link.as_str()).collect::<BTreeSet<_>>(), names);
    let moved: Vec<&String> =
        after.iter().filter(|link| !before.contains(link)).map(|(link, _)| link).collect();
    // The best of score-a is new: 6 after 7 and 8. The best of score/a stays 1, that of score_a 3.
    assert_eq!(moved.len(), 1, "{before:?} {after:?}");
    let moved = after.iter().find(|(link, _)| link == moved[0]).unwrap();
    assert!(moved.1.contains("epoch=2"), "{moved:?}");
}

#[test]
fn two_metrics_of_one_file_of_burns_are_an_error_before_the_first_step() {
    let root = tempfile::tempdir().unwrap();
    // Were a step to be taken, it would panic.
    let script = Script { panic_in_step: Some(1), ..Script::default() };
    let set_up = |training: SupervisedTraining<Model>| {
        training
            .metric_valid_numeric(ScriptedMetric::new("My Score", &[1.0]))
            .metric_valid_numeric(ScriptedMetric::new("My_Score", &[2.0]))
    };
    let error = train_with(config(root.path(), 1), script, set_up).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "metrics"), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("\"My Score\"") && text.contains("\"My_Score\"") && text.contains("My_Score.log"),
        "{text}"
    );
    assert!(!run_dir(root.path()).exists());
}

/// A strategy that saves nothing, under a link of its own.
struct Linked(&'static str);

impl Strategy for Linked {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(self.0).with_link(self.0)
    }

    fn decide(&mut self, _: &TrainingEvent<'_>, _: &RunProgress<'_>) -> SaveDecision {
        SaveDecision::Skip
    }
}

#[test]
fn two_links_of_one_name_on_some_file_system_are_an_error_before_the_first_step() {
    for (one, other) in [("mine", "Mine"), ("b@/c", "b@_c")] {
        let root = tempfile::tempdir().unwrap();
        let script = Script { panic_in_step: Some(1), ..Script::default() };
        let trainer = Trainer::new(config(root.path(), 1), &script.hparams()).unwrap();
        let trainer = trainer.strategy(Linked(one)).strategy(Linked(other));
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        let error = trainer.fit(training, learner(script)).map(|_| ()).unwrap_err();
        let text = error.to_string();
        let is_setting = matches!(&error, Error::Config { setting, .. } if setting == "strategies");
        assert!(is_setting && text.contains("keep the link"), "{text}");
        assert!(!run_dir(root.path()).exists(), "{one} {other}");
    }
}

#[test]
fn two_dirpaths_that_are_one_on_some_file_system_are_an_error_before_the_first_step() {
    let root = tempfile::tempdir().unwrap();
    let script = Script { panic_in_step: Some(1), ..Script::default() };
    let strategies = [
        StrategyConfig::Last(Last::new().with_dirpath("mine")),
        StrategyConfig::Best(Best::new().with_dirpath("Mine")),
    ];
    let config = config(root.path(), 1).with_strategies(strategies);
    let error = train_with(config, script, |training| training.metrics((LossMetric::new(),))).map(drop);
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "strategies"), "{error:?}");
    assert!(error.to_string().contains("differ in capital letters only"), "{error}");
    assert!(!run_dir(root.path()).exists());
}

#[test]
fn two_templates_of_one_name_on_some_file_system_make_two_files() {
    let root = tempfile::tempdir().unwrap();
    let strategies = [
        StrategyConfig::Last(Last::new().with_dirpath("mine").with_filename("Epoch={epoch}")),
        StrategyConfig::Best(Best::new().with_dirpath("mine").with_filename("epoch={epoch}")),
    ];
    let config = config(root.path(), 1).with_strategies(strategies);
    let set_up = |training: SupervisedTraining<Model>| training.metrics((LossMetric::new(),));
    let result = train_with(config, Script::default(), set_up).unwrap();
    assert!(result.failed_saves.is_empty(), "{:?}", result.failed_saves);
    let names = files(&checkpoints(root.path()).join("mine"));
    let names: Vec<&String> = names.iter().filter(|name| name.ends_with(".ckpt")).collect();
    assert_eq!(names, ["Epoch=0.ckpt", "epoch=0-v1.ckpt"]);
}

/// Another run that takes a name in a shared directory while a state is written that has it reserved.
struct TakesTheName {
    name: PathBuf,
    at: fn(&Operation<'_>) -> bool,
    has_taken: AtomicBool,
}

impl Observer for TakesTheName {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_of_name = operation.path().starts_with(self.name.parent().unwrap());
        if is_of_name && (self.at)(operation) && !self.has_taken.swap(true, Ordering::Relaxed) {
            fs::write(&self.name, "another run's").unwrap();
        }
        Verdict::Proceed
    }
}

/// Trains for an epoch while another run takes the name of its state in a shared directory, and then for one
/// more.
fn while_a_name_is_taken(strategies: impl Fn(&Path) -> Vec<StrategyConfig>, at: fn(&Operation<'_>) -> bool) {
    let (root, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = fs::canonicalize(shared.path()).unwrap();
    let name = shared.join("epoch=0-step=10.ckpt");
    let taking = Arc::new(TakesTheName { name: name.clone(), at, has_taken: AtomicBool::new(false) });
    let run =
        |epochs| config(root.path(), epochs).with_ckpt_path("auto").with_strategies(strategies(&shared));
    let observation = observe(&shared, taking.clone());
    let result = train(run(1)).unwrap();
    drop(observation);
    assert!(taking.has_taken.load(Ordering::Relaxed));
    assert!(result.failed_saves.is_empty() && !result.last_save_failed, "{:?}", result.failed_saves);
    let own = shared.join("epoch=0-step=10-v1.ckpt");
    assert!(result.checkpoints.values().any(|saved| saved.path == own), "{:?}", result.checkpoints);
    for saved in result.checkpoints.values() {
        Checkpoint::open(&saved.path).unwrap().verify().unwrap();
    }
    let link = fs::canonicalize(checkpoints(root.path()).join("last.ckpt")).unwrap();
    assert_eq!(link, own);
    // The state says its own name: the next start resumes from it, and removes it for a newer one.
    assert!(train(run(2)).unwrap().resumed_from.is_some());
    assert_eq!(stems(&shared), ["epoch=0-step=10", "epoch=1-step=20"]);
    assert_eq!(fs::read_to_string(&name).unwrap(), "another run's");
    assert_eq!(leftovers(&shared), Vec::<String>::new());
}

#[test]
fn a_name_that_another_run_takes_while_a_state_is_written_costs_the_state_nothing() {
    let last = |shared: &Path| vec![StrategyConfig::Last(Last::new().with_dirpath(shared.to_path_buf()))];
    while_a_name_is_taken(last, |operation| matches!(operation, Operation::CreateFile(..)));
    while_a_name_is_taken(last, |operation| matches!(operation, Operation::HardLink { .. }));
}

#[test]
fn a_second_name_that_another_run_takes_gets_a_state_that_says_its_own_name() {
    let both = |shared: &Path| {
        let last = Last::new().with_dirpath(shared.to_path_buf());
        vec![StrategyConfig::Best(Best::new()), StrategyConfig::Last(last)]
    };
    while_a_name_is_taken(both, |operation| matches!(operation, Operation::HardLink { .. }));
}
