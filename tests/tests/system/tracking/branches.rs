//! A tracker gets what it does not have: also of a run that left what it had sent, and of a later run of the
//! same id.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::metrics_log;
use burn_ckpt::retention::TopK;
use burn_trainer::TrainerConfig;
use burn_trainer::strategy::{Last, StrategyConfig};
use parking_lot::Mutex;
use serde_json::Value;
use system_tests::config;
use system_tests::models::small::{Script, train_by};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::http_server::{HttpServer, Reply, Request};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, run_dir};

use super::{Recorder, Told, log, patient, saving_every_4_steps, without_times};

/// A server that answers as MLflow, and has a run of 60 steps.
pub fn mlflow(request: &Request) -> Reply {
    let body = if request.line.contains("experiments/get-by-name") {
        r#"{"experiment":{"experiment_id":"7"}}"#
    } else if request.line.contains("runs/create") {
        r#"{"run":{"info":{"run_id":"abc","artifact_uri":"s3://bucket/7/abc"}}}"#
    } else if request.line.contains("runs/get") {
        r#"{"run":{"data":{"metrics":[{"key":"train_loss_step","step":60}]}}}"#
    } else {
        "{}"
    };
    Reply::Json(200, body.to_owned())
}

/// The steps of the batches' losses that a server was sent, in their order.
fn steps_of_batches(sent: &[Request]) -> Vec<u64> {
    let bodies = sent.iter().filter_map(|request| serde_json::from_str::<Value>(&request.body).ok());
    let metrics = bodies.flat_map(|body| body["metrics"].as_array().cloned().unwrap_or_default());
    let losses = metrics.filter(|metric| metric["key"] == "train_loss_step");
    losses.filter_map(|metric| metric["step"].as_u64()).collect()
}

fn failing_at(step: usize) -> Script {
    Script { panic_in_step: Some(step), ..Script::default() }
}

fn keeping_all(config: TrainerConfig) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(4).with_topk(TopK::All);
    config.with_strategies([StrategyConfig::Last(last)])
}

/// Trains to the end of the second epoch, as `more` has it. Returns the steps of the batches that the server
/// got of it, and what was said.
fn run_with(server: &HttpServer, root: &Path, more: &str) -> (Vec<u64>, String) {
    let arguments = "--run-id r1 --epochs 2 --set last.topk=\"all\" --set trackers=[\"mlflow\"] \
                     --set trackers_wait_seconds=120";
    let before = server.requests().len();
    let mut command = warmup(root, &format!("{arguments} {more}"));
    command.env("MLFLOW_TRACKING_URI", server.uri());
    let stderr = Running::start(command).end_well().stderr;
    (steps_of_batches(&server.requests()[before..]), stderr)
}

#[test]
fn a_server_gets_the_values_of_a_resume_from_an_earlier_checkpoint_with_other_settings() {
    let root = tempfile::tempdir().unwrap();
    let server = HttpServer::start(mlflow);
    let run = |more: &str| run_with(&server, root.path(), more);
    let (all, _) = run("");
    assert_eq!(all, (1..=60).collect::<Vec<_>>());
    let earlier = checkpoints(root.path()).join("last/epoch=0-step=30.ckpt");
    let resumed = format!("--ckpt-path {}", earlier.display());
    let (same, stderr) = run(&resumed);
    assert!(same.is_empty() && !stderr.contains("other values"), "{same:?} {stderr}");
    let (others, stderr) = run(&format!("{resumed} --set learning_rate=0.05"));
    assert_eq!(others, all[30..], "{stderr}");
    let said = "the tracker mlflow was sent other values from epoch 2, step 31 on by an earlier process";
    assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
    let is_tagged = |request: &Request| {
        request.body.contains("burn_trainer.branched") && request.body.contains("from step 31 on")
    };
    assert_eq!(server.requests().iter().filter(|request| is_tagged(request)).count(), 1);
    // What it has of later steps is of the branch that was left.
    let (none, stderr) = run(&format!("{resumed} --set learning_rate=0.05"));
    assert!(none.is_empty() && !stderr.contains("other values"), "{none:?} {stderr}");
}

/// A server that answers as MLflow, and keeps the values of the losses of batches.
fn remembering() -> HttpServer {
    let mut values: Vec<Value> = Vec::new();
    HttpServer::start(move |request| {
        let sent = serde_json::from_str::<Value>(&request.body).unwrap_or_default();
        let metrics = sent["metrics"].as_array().cloned().unwrap_or_default();
        values.extend(metrics.into_iter().filter(|metric| metric["key"] == "train_loss_step"));
        if request.line.contains("metrics/get-history") {
            // Two values to a page.
            let page =
                request.line.split("page_token=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
            let start: usize = page.map_or(0, |page| page.parse().unwrap());
            let end = (start + 2).min(values.len());
            let next = if end < values.len() { end.to_string() } else { String::new() };
            let answer = serde_json::json!({ "metrics": values[start..end], "next_page_token": next });
            return Reply::Json(200, answer.to_string());
        }
        if request.line.contains("runs/get?") {
            let last = values.iter().max_by_key(|metric| metric["step"].as_u64());
            let metrics: Vec<&Value> = last.into_iter().collect();
            return Reply::Json(
                200,
                serde_json::json!({ "run": { "data": { "metrics": metrics } } }).to_string(),
            );
        }
        mlflow(request)
    })
}

#[test]
fn values_that_a_killed_process_has_sent_unnoted_do_not_hide_those_of_other_settings() {
    let root = tempfile::tempdir().unwrap();
    let server = remembering();
    let run = |more: &str| run_with(&server, root.path(), more).0;
    run("");
    // As a kill leaves it between the server's answer and the note of it.
    let forget = || {
        let path = run_dir(root.path()).join("tracker-mlflow.json");
        let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        state["sent"]["batch"] = serde_json::json!([0, 30]);
        state["state"]["last_steps"]["train_loss_step"] = 30.into();
        fs::write(&path, state.to_string()).unwrap();
    };
    let earlier = checkpoints(root.path()).join("last/epoch=0-step=30.ckpt");
    let resumed = format!("--ckpt-path {}", earlier.display());
    forget();
    assert!(run(&resumed).is_empty(), "the server has the same values");
    forget();
    let others = run(&format!("{resumed} --set learning_rate=0.05"));
    // The first batch is computed before the rate counts.
    assert!(others.len() >= 29 && others.ends_with(&(32..=60).collect::<Vec<_>>()), "{others:?}");
}

#[test]
fn a_resume_from_an_earlier_checkpoint_that_logs_the_same_sends_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let config = keeping_all(config(root.path(), 2));
    train_by(config.clone(), Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told))))
        .unwrap();
    let earlier = checkpoints(root.path()).join("last/epoch=0-step=8.ckpt");
    let config = config.with_max_epochs(3).with_ckpt_path(earlier.to_str().unwrap());
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert_eq!(without_times(&told.lock().lines), without_times(&log(root.path())));
    assert!(told.lock().branches.is_empty());
}

#[test]
fn what_a_run_has_sent_that_never_saved_is_not_that_of_a_later_run_of_its_id() {
    let root = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let config = saving_every_4_steps(root.path(), 1).with_ckpt_path("auto");
    let tracked = config.clone().with_trackers(["csv"]);
    train_by(tracked, failing_at(3), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap_err();
    assert!(!told.lock().lines.is_empty() && run_dir(root.path()).join("metrics.csv").is_file());
    *told.lock() = Told::default();
    train_by(config.clone(), Script::default(), |trainer| trainer).unwrap();
    for name in ["metrics.csv", "tracker-csv.json", "tracker-recorder.json"] {
        assert!(!run_dir(root.path()).join(name).exists(), "{name}");
    }
    let config = config.with_max_epochs(2);
    train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told)))).unwrap();
    assert_eq!(without_times(&told.lock().lines), without_times(&log(root.path())));
    assert!(told.lock().starts[0].1.is_none(), "{:?}", told.lock().starts);
}

#[test]
fn a_log_that_is_written_again_is_sent_as_it_will_be() {
    let root = tempfile::tempdir().unwrap();
    let of = |id: &str| config(root.path(), 2).with_run_id(id).with_trackers_wait_seconds(120.0);
    let tracked = |id: &str| keeping_all(of(id)).with_trackers(["csv"]);
    train_by(tracked("r1"), failing_at(15), |trainer| trainer).unwrap_err();
    let within_an_epoch = checkpoints(root.path()).join("last/epoch=1-step=12.ckpt");
    // A new run from another's checkpoint, and a run whose log was deleted.
    for id in ["r2", "r1"] {
        let run = root.path().join("burn_trainer_logs").join(id);
        let _ = fs::remove_file(run.join("metrics.jsonl"));
        let told = Arc::new(Mutex::new(Told::default()));
        let config = tracked(id).with_ckpt_path(within_an_epoch.to_str().unwrap());
        train_by(config, Script::default(), |trainer| trainer.callback(patient(Recorder::of(&told))))
            .unwrap();
        let table = fs::read_to_string(run.join("metrics.csv")).unwrap();
        assert_eq!(table, stdout(&burn_ckpt(&[&"csv", &run])), "{id}");
        let logged: Vec<_> = metrics_log::read(&run).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(without_times(&told.lock().lines), without_times(&logged), "{id}");
        assert!(logged.iter().any(|line| line.epoch == 0), "{id}");
    }
}
