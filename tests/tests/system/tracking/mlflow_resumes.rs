//! A run that resumes on an MLflow server: no value is missing, there twice or called another branch,
//! whatever has stopped the first process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use system_tests::programs::http_server::{HttpServer, Reply, Request};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::stop_at_batch::stop_at_batch;
use system_tests::programs::test_hooks::Split;

use super::branches::mlflow;

/// A server that answers as MLflow, and keeps the values of all metrics.
fn remembering() -> HttpServer {
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    HttpServer::start(move |request| {
        let sent = serde_json::from_str::<Value>(&request.body).unwrap_or_default();
        for metric in sent["metrics"].as_array().into_iter().flatten() {
            values.entry(metric["key"].as_str().unwrap().to_owned()).or_default().push(metric.clone());
        }
        if request.line.contains("metrics/get-history") {
            let key = request.line.split("metric_key=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
            return Reply::Json(200, json!({ "metrics": values.get(key.unwrap()) }).to_string());
        }
        if request.line.contains("runs/get?") {
            let last =
                |values: &Vec<Value>| values.iter().max_by_key(|metric| metric["step"].as_u64()).cloned();
            let last: Vec<Value> = values.values().filter_map(last).collect();
            return Reply::Json(200, json!({ "run": { "data": { "metrics": last } } }).to_string());
        }
        mlflow(request)
    })
}

fn tracked(root: &Path, server: &HttpServer, flags: &str) -> Command {
    let arguments = format!("--run-id r1 --ckpt-path auto --set trackers=[\"mlflow\"] {flags}");
    let mut command = warmup(root, &arguments);
    command.env("MLFLOW_TRACKING_URI", server.uri());
    command
}

/// The steps of the values that a server got of a metric, in their order.
fn steps_of(sent: &[Request], metric: &str) -> Vec<u64> {
    let bodies = sent.iter().filter_map(|request| serde_json::from_str::<Value>(&request.body).ok());
    let metrics = bodies.flat_map(|body| body["metrics"].as_array().cloned().unwrap_or_default());
    metrics.filter(|sent| sent["key"] == metric).filter_map(|metric| metric["step"].as_u64()).collect()
}

#[test]
fn a_stop_within_an_accumulated_step_is_not_a_branch() {
    let root = tempfile::tempdir().unwrap();
    let server = remembering();
    let flags = "--epochs 1 --set grads_accumulation=4 --set trackers_wait_seconds=120";
    // The second batch of the third step.
    stop_at_batch(tracked(root.path(), &server, flags), Split::Train, 10);
    let first = server.requests().len();
    let loss = "train_loss_step";
    assert_eq!(steps_of(&server.requests(), loss), [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
    let ended = Running::start(tracked(root.path(), &server, flags)).end_well();
    let sent = server.requests();
    let is_branch = |request: &&Request| request.body.contains("burn_trainer.branched");
    assert_eq!(sent[first..].iter().filter(is_branch).count(), 0, "{}", ended.stderr);
    // Each batch of a step has the same rate: it is one for each of the 30 batches all the same.
    for metric in [loss, "train_learning_rate_step"] {
        let steps = steps_of(&sent, metric);
        assert_eq!(steps.len(), 30, "{metric} {steps:?} {}", ended.stderr);
        assert!(steps.is_sorted(), "{metric} {steps:?}");
    }
}

#[test]
fn values_for_which_a_token_has_expired_are_sent_when_the_run_resumes() {
    for status in [401, 403, 404] {
        let root = tempfile::tempdir().unwrap();
        let fails = Arc::new(AtomicBool::new(true));
        let is_failing = Arc::clone(&fails);
        let server = HttpServer::start(move |request| {
            let is_for_values = request.body.contains("\"metrics\"") || request.line.contains("runs/get?");
            match is_for_values && is_failing.load(Ordering::Relaxed) {
                true => Reply::Json(status, String::new()),
                false => mlflow(request),
            }
        });
        let run = |epochs: usize, wait: &str| {
            let flags = format!("--epochs {epochs} --set trackers_wait_seconds={wait}");
            Running::start(tracked(root.path(), &server, &flags)).end_well().stderr
        };
        // It creates a run, and after that finds no run; then it works again.
        for epochs in [1, 2] {
            let said = run(epochs, "1");
            let left = 32 * epochs;
            assert!(
                said.contains(&format!("did not get {left} lines of values: the server answers {status}")),
                "{said}"
            );
            assert_eq!(said.matches("the tracker mlflow: ").count(), 1, "{said}");
        }
        let failed = server.requests().len();
        fails.store(false, Ordering::Relaxed);
        let said = run(3, "120");
        let sent = server.requests();
        assert_eq!(steps_of(&sent[failed..], "train_loss_step"), (1..=90).collect::<Vec<_>>(), "{said}");
        let created = sent.iter().filter(|request| request.line.contains("runs/create")).count();
        assert_eq!(created, 1, "{status}");
    }
}
