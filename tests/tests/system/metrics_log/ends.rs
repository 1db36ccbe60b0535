//! How a run ended, where no checkpoint says it: the last line of its log does, and `burn-ckpt runs` and
//! `watch` tell it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::train::ExecutionStrategy;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::TopK;
use burn_trainer::callbacks::EarlyStopping;
use burn_trainer::strategy::{Best, Last, OnException, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use jiff::Timestamp;
use serde_json::Value;
use system_tests::forged_checkpoint::Parts;
use system_tests::models::small::{
    OnStep, Poison, Script, ScriptedMetric, learner, loader, stopper, train_scripted_with_strategy,
};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::run_files::{files, metadata, run_dir};
use system_tests::{backend, config, train_scored, train_with};

/// Saves the best state alone: the first one, with the scores below.
fn best_alone(root: &Path, run: &str, epochs: usize) -> TrainerConfig {
    let best = StrategyConfig::Best(Best::new());
    let config = config(root, epochs).with_run_id(run).with_primary_metric("val_score");
    config.with_strategies([best]).with_ckpt_path("auto")
}

/// Each epoch is worse than the one before.
const SCORES: [f64; 3] = [1.0, 2.0, 3.0];

fn status(root: &Path, run: &str) -> (String, String) {
    let run = run_dir(root).with_file_name(run);
    let runs: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &run, &"--json"]))).unwrap();
    ["status", "why"].map(|key| runs[0][key].as_str().unwrap().to_owned()).into()
}

fn end_lines(root: &Path, run: &str) -> Vec<Value> {
    let log = fs::read_to_string(run_dir(root).with_file_name(run).join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("ended").is_some()).collect()
}

/// The exit status of `watch`, and what it says at the end.
fn watched(root: &Path, run: &str, status: i32) -> String {
    let mut watch = burn_ckpt_command();
    watch.args(["watch", "--interval", "0.01", "--until-stopped"]).arg(run_dir(root).with_file_name(run));
    ended_with(&watch.output().unwrap(), status).1
}

/// Trains with these scores, and is told to stop in this step of the process, or panics in it.
fn interrupted(config: TrainerConfig, scores: &[f64], stops_in: Option<usize>, panics_in: Option<usize>) {
    let trainer = Trainer::new(config, &Script::default().hparams()).unwrap();
    let data = || loader(&Script::default());
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    let training = training.metric_valid_numeric(ScriptedMetric::new("Score", scores));
    let at_step = stops_in.map(|step| (step, stopper(training.interrupter(), false)));
    let script = Script { at_step, panic_in_step: panics_in, ..Script::default() };
    let result = trainer.fit(training, learner(script));
    assert_eq!(result.is_err(), panics_in.is_some());
}

/// Trains in the same way to the end.
fn trained(config: TrainerConfig, scores: &[f64]) {
    interrupted(config, scores, None, None);
}

#[test]
fn a_run_whose_last_state_no_strategy_saves_is_done_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    let of = |run: &str, epochs| best_alone(root.path(), run, epochs);
    train_scored(of("whole", 3), &SCORES).unwrap();
    train_scored(of("steps", 9).with_max_steps(15), &SCORES).unwrap();
    let patience = EarlyStopping::new("val_score").with_patience(1);
    train_scored(of("early", 3).with_early_stopping(patience), &SCORES).unwrap();
    train_scored(of("best_is_last", 3), &[3.0, 2.0, 1.0]).unwrap();
    for (run, why) in [
        ("whole", ""),
        ("steps", "max_steps: 15 optimizer steps are done"),
        ("early", "early stopping: val_score has not improved for 1 validation"),
        ("best_is_last", ""),
    ] {
        assert_eq!(status(root.path(), run), ("done".to_owned(), why.to_owned()), "{run}");
        let err = watched(root.path(), run, 0);
        assert!(err.contains("it is done; 1 checkpoint"), "{run}: {err}");
        // Where a checkpoint says it, the log does not.
        let is_saved = run == "best_is_last";
        assert_eq!(end_lines(root.path(), run).len(), usize::from(!is_saved), "{run}");
        let newest = run_dir(root.path()).with_file_name(run).join("checkpoint/best_val_score.ckpt");
        assert_eq!(metadata(&newest)["global_step"], if is_saved { 30 } else { 10 }, "{run}");
    }
    let early = &end_lines(root.path(), "early")[0];
    assert_eq!((&early["ended"], &early["step"]), (&"done".into(), &20.into()), "{early}");
    assert!(early["ended_because"].as_str().unwrap().starts_with("early stopping: "), "{early}");
}

#[test]
fn a_run_that_stops_or_fails_where_no_strategy_saves_says_it() {
    let root = tempfile::tempdir().unwrap();
    let of = |run: &str| best_alone(root.path(), run, 3);
    interrupted(of("stopped"), &SCORES, Some(15), None);
    interrupted(of("failed"), &SCORES, None, Some(15));
    let stopped = ("stopped".to_owned(), "the test called stop".to_owned());
    assert_eq!(status(root.path(), "stopped"), stopped);
    let (failed, why) = status(root.path(), "failed");
    assert!(failed == "failed" && why.contains("told to panic"), "{failed}: {why}");
    let err = watched(root.path(), "stopped", 1);
    assert!(err.contains("no process writes to it: stopped: the test called stop"), "{err}");
    let err = watched(root.path(), "failed", 1);
    assert!(err.contains("no process writes to it: exception: "), "{err}");
    // The line goes when the run resumes.
    trained(of("stopped"), &[0.5, 0.25]);
    assert_eq!(
        (status(root.path(), "stopped").0, end_lines(root.path(), "stopped")),
        ("done".to_owned(), vec![])
    );
}

#[test]
fn a_loop_of_burns_says_how_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let single = || ExecutionStrategy::single(backend::device().autodiff());
    let trained_by_burn = |run: &str, epochs, script| {
        let metric = ScriptedMetric::new("Score", &SCORES);
        train_scripted_with_strategy(best_alone(root.path(), run, epochs), script, single(), |training| {
            training.metric_valid_numeric(metric)
        })
    };
    trained_by_burn("whole", 3, Script::default()).unwrap();
    assert_eq!(status(root.path(), "whole"), ("done".to_owned(), String::new()));
    assert!(trained_by_burn("failed", 3, Script { panic_in_step: Some(17), ..Script::default() }).is_err());
    let (failed, why) = status(root.path(), "failed");
    assert!(failed == "failed" && why.contains("told to panic"), "{failed}: {why}");
    // Its only checkpoint has all epochs.
    trained_by_burn("one", 1, Script::default()).unwrap();
    assert_eq!((status(root.path(), "one").0, end_lines(root.path(), "one")), ("done".to_owned(), vec![]));
}

#[test]
fn a_run_that_has_saved_nothing_says_how_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let nothing = config(root.path(), 1).with_run_id("done").with_strategies([]);
    train_with(nothing, Script::default(), |training| training.metrics((LossMetric::new(),))).unwrap();
    interrupted(best_alone(root.path(), "stopped", 3), &SCORES, Some(5), None);
    let never_saved = |why: &str| ("never saved".to_owned(), why.to_owned());
    assert_eq!(status(root.path(), "done"), never_saved("done"));
    assert_eq!(status(root.path(), "stopped"), never_saved("stopped: the test called stop"));
}

#[test]
fn how_a_later_start_ended_counts_and_not_what_the_checkpoint_says_of_an_earlier_one() {
    let root = tempfile::tempdir().unwrap();
    let last = || StrategyConfig::Last(Last::default());
    let saving = |epochs| best_alone(root.path(), "a", epochs).with_strategies([last()]);
    trained(saving(1), &SCORES);
    assert_eq!(status(root.path(), "a"), ("done".to_owned(), String::new()));
    // Trained further, it fails before a save.
    interrupted(best_alone(root.path(), "a", 3), &SCORES, None, Some(5));
    let (failed, why) = status(root.path(), "a");
    assert!(failed == "failed" && why.contains("told to panic"), "{failed}: {why}");
    trained(saving(2), &SCORES);
    assert_eq!(status(root.path(), "a"), ("done".to_owned(), String::new()));
    assert!(end_lines(root.path(), "a").is_empty());
}

#[test]
fn a_run_whose_last_state_is_not_finite_and_was_deleted_says_how_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let of = |run: &str, epochs| {
        let config = config(root.path(), epochs).with_run_id(run).with_ckpt_path("auto");
        config.with_strategies([StrategyConfig::Last(Last::default())])
    };
    let poisoned = |config: TrainerConfig, stops_in: Option<usize>| {
        let trainer = Trainer::new(config, &Script::default().hparams()).unwrap();
        let trainer = trainer.callback(Poison::when(|epoch, _| epoch == 1, f32::NAN));
        let data = || loader(&Script::default());
        let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
        let at_step = stops_in.map(|step| (step, stopper(training.interrupter(), false)));
        trainer.fit(training, learner(Script { at_step, ..Script::default() })).unwrap();
    };
    for (run, change, stops_in, said, why, step) in [
        ("whole", (|config| config) as fn(TrainerConfig) -> TrainerConfig, None, "done", "", 30),
        ("stopped", |config| config, Some(5), "stopped", "the test called stop", 15),
        (
            "steps",
            |config| config.with_max_steps(15),
            None,
            "done",
            "max_steps: 15 optimizer steps are done",
            15,
        ),
        (
            "early",
            |config| config.with_early_stopping(EarlyStopping::new("val_loss")),
            None,
            "done",
            "early stopping: val_loss is NaN",
            20,
        ),
    ] {
        poisoned(of(run, 1), None);
        poisoned(change(of(run, 3)), stops_in);
        assert_eq!(status(root.path(), run), (said.to_owned(), why.to_owned()), "{run}");
        let lines = end_lines(root.path(), run);
        assert!(lines.len() == 1 && lines[0]["step"] == step, "{run}: {lines:?}");
    }
    // Trained again without the fault, a checkpoint says it.
    train_with(of("whole", 3), Script::default(), |training| training.metrics((LossMetric::new(),))).unwrap();
    assert_eq!(
        (status(root.path(), "whole").0, end_lines(root.path(), "whole")),
        ("done".to_owned(), vec![])
    );
}

/// The files below the run's `checkpoint` that are left when `prune` has kept what links point to.
fn pruned_to_links(root: &Path, run: &str) -> Vec<String> {
    let run = run_dir(root).with_file_name(run);
    stdout(&burn_ckpt(&[&"prune", &run, &"--keep", &"links"]));
    let names = files(&run.join("checkpoint")).into_iter();
    names.filter(|name| name.ends_with(".ckpt") && !name.contains(" -> ")).collect()
}

#[test]
fn a_run_whose_checkpoint_that_said_how_it_ended_was_pruned_still_says_it() {
    let root = tempfile::tempdir().unwrap();
    let two_best = || StrategyConfig::Best(Best::new().with_topk(TopK::Count(2)));
    let of = |run: &str, epochs| best_alone(root.path(), run, epochs).with_strategies([two_best()]);
    // The last state is the second best, so no link leads to it.
    const LAST_IS_SECOND: [f64; 3] = [1.0, 3.0, 2.0];
    trained(of("whole", 3), &LAST_IS_SECOND);
    trained(of("steps", 9).with_max_steps(30), &LAST_IS_SECOND);
    let on_exception = || StrategyConfig::OnException(OnException::default());
    let failing = of("failed", 3).with_strategies([two_best(), on_exception()]);
    interrupted(failing, &LAST_IS_SECOND, None, Some(25));
    for (run, said, why) in [
        ("whole", "done", ""),
        ("steps", "done", "max_steps: 30 optimizer steps are done"),
        ("failed", "failed", "told to panic"),
    ] {
        let before = status(root.path(), run);
        assert!(before.0 == said && before.1.contains(why), "{run}: {before:?}");
        assert!(end_lines(root.path(), run).is_empty(), "{run}");
        for _ in 0..2 {
            assert_eq!(pruned_to_links(root.path(), run), ["best/epoch=0-step=10.ckpt"], "{run}");
            assert_eq!(status(root.path(), run), before, "{run}");
            assert_eq!(end_lines(root.path(), run).len(), 1, "{run}");
        }
        let is_done = said == "done";
        let err = watched(root.path(), run, i32::from(!is_done));
        assert!(err.contains(if is_done { "it is done" } else { "told to panic" }), "{run}: {err}");
    }
    // It resumes from what is left, and the line goes.
    trained(of("whole", 3), &[0.5, 0.25]);
    assert_eq!(
        (status(root.path(), "whole").0, end_lines(root.path(), "whole")),
        ("done".to_owned(), vec![])
    );
}

/// How the starts of the newest best checkpoint ended.
fn ends_of_starts(root: &Path, run: &str) -> Vec<Value> {
    let newest = run_dir(root).with_file_name(run).join("checkpoint/best_val_score.ckpt");
    metadata(&newest)["starts"].as_array().unwrap().iter().map(|start| start["ended"].clone()).collect()
}

#[test]
fn the_starts_of_a_run_say_how_they_ended_also_where_the_checkpoint_that_was_resumed_does_not() {
    let root = tempfile::tempdir().unwrap();
    let stopped = Value::from("stopped: the test called stop");
    // No checkpoint says it, and the log does.
    let of = |run: &str| best_alone(root.path(), run, 3);
    interrupted(of("log"), &SCORES, Some(15), None);
    trained(of("log"), &[0.5, 0.25]);
    assert_eq!(ends_of_starts(root.path(), "log"), [stopped.clone(), Value::Null]);
    // A newer one says it than that which is resumed.
    let last = || StrategyConfig::Last(Last::default());
    let both = |run: &str| of(run).with_strategies([StrategyConfig::Best(Best::new()), last()]);
    interrupted(both("newer"), &SCORES, Some(15), None);
    trained(both("newer").with_ckpt_path("best"), &[0.5, 0.25]);
    assert_eq!(ends_of_starts(root.path(), "newer"), [stopped.clone(), Value::Null]);
    // A start that has saved nothing is not listed, and its end is not that of the one before.
    interrupted(of("between"), &SCORES, Some(15), None);
    interrupted(of("between"), &SCORES, None, Some(5));
    let (failed, why) = status(root.path(), "between");
    assert!(failed == "failed" && why.contains("told to panic"), "{failed}: {why}");
    trained(of("between"), &[0.5, 0.25]);
    assert_eq!(ends_of_starts(root.path(), "between"), [Value::Null, Value::Null]);
}

#[test]
fn the_end_and_the_lock_of_a_run_come_after_its_checkpoints_also_when_the_clock_was_set_back() {
    let root = tempfile::tempdir().unwrap();
    let of = |epochs| best_alone(root.path(), "r1", epochs);
    trained(of(1), &SCORES);
    let saved = "2099-01-01T00:00:00Z";
    let path = run_dir(root.path()).join("checkpoint/best/epoch=0-step=10.ckpt");
    let mut described = metadata(&path);
    described["checkpoint_timestamp"] = saved.into();
    Parts::read(&path).write(&path, described);
    // No state is better than the first, so that none of these starts saves one.
    let lock = run_dir(root.path()).join("run.lock");
    let started = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&started);
    let look = OnStep(Arc::new(move || {
        *seen.lock().unwrap() = Some(Timestamp::try_from(fs::metadata(&lock).unwrap().modified().unwrap()));
    }));
    let script = Script { at_step: Some((5, look)), ..Script::default() };
    let metric = ScriptedMetric::new("Score", &SCORES[1..]);
    train_with(of(2), script, |training| training.metric_valid_numeric(metric)).unwrap();
    let saved: Timestamp = saved.parse().unwrap();
    assert!(started.lock().unwrap().clone().unwrap().unwrap() > saved, "a kill is after the checkpoint");
    assert_eq!(status(root.path(), "r1").0, "done");
    interrupted(of(4), &SCORES[1..], Some(15), None);
    assert_eq!(status(root.path(), "r1"), ("stopped".to_owned(), "the test called stop".to_owned()));
}
