//! Names and values that a program which shows runs does not have: they are changed, left out or said, and
//! cost nothing else.

use std::path::Path;

use burn::train::metric::LossMetric;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, LoggedScalar};
use burn_trainer::trackers::Mlflow;
use burn_trainer::{Trainer, TrainerConfig};
use serde_json::{Value, json};
use system_tests::config;
use system_tests::models::small::{Model, Script, learner, loader, train_by};
use system_tests::programs::http_server::{HttpServer, Reply, Request};
use system_tests::programs::test_alone::said_alone;

use super::branches::mlflow;
use super::mlflow::{MlflowServer, free_port, value_of};
use super::patient;

/// Two have a vowel sign, which Python does not count among letters.
const NAMES: [&str; 3] = ["huge", "का", "कि"];
const VALUES: [f64; 3] = [1e300, 0.25, 0.5];

/// Logs values under names that are not everywhere allowed.
struct Named;

impl Callback<Model> for Named {
    fn name(&self) -> String {
        "named".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        NAMES.map(LoggedScalar::of_training).to_vec()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        for (name, value) in NAMES.into_iter().zip(VALUES) {
            context.log(name, value)?;
        }
        Ok(())
    }
}

/// MLflow's own variable: the address is of a server that the test starts.
const ADDRESS: &str = "MLFLOW_TRACKING_URI";

/// Whether this is the process that a test starts.
fn is_alone() -> bool {
    std::env::var(ADDRESS).is_ok_and(|uri| uri.starts_with("http://127.0.0.1:"))
}

/// Trains for an epoch with parameters that have such names too.
fn train_named(config: TrainerConfig) {
    let hparams = json!({ "..lr": 0.1, "का": 3, "कि": 4 });
    let trainer = Trainer::new(config, &hparams).unwrap();
    let tracker = patient(Mlflow::from_env().unwrap().with_checkpoints(false));
    let trainer = trainer.callback(Named).callback(tracker);
    let training = trainer.training(loader(&Script::default()), loader(&Script::default()));
    trainer.fit(training.metrics((LossMetric::new(),)), learner(Script::default())).unwrap();
}

/// The keys of what a server was sent under a name: `metrics` or `params`.
fn keys_of(sent: &[Request], what: &str) -> Vec<String> {
    let bodies = sent.iter().filter_map(|request| serde_json::from_str::<Value>(&request.body).ok());
    let all = bodies.flat_map(|body| body[what].as_array().cloned().unwrap_or_default());
    all.map(|one| one["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rejected_metric_or_parameter_is_named_and_left_out_and_all_others_arrive() {
    if is_alone() {
        let root = tempfile::tempdir().unwrap();
        return train_named(config(root.path(), 2));
    }
    let (mut taken, rejected) = (Vec::new(), ["\"train_huge_step\"", "\"trainer.seed\""]);
    let (accepted, was_taken) = std::sync::mpsc::channel();
    let server = HttpServer::start(move |request| {
        if rejected.iter().any(|name| request.body.contains(name)) {
            return Reply::Json(
                400,
                r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"bad"}"#.to_owned(),
            );
        }
        accepted.send(request.clone()).unwrap();
        mlflow(request)
    });
    let test = "a_rejected_metric_or_parameter_is_named_and_left_out_and_all_others_arrive";
    let said = said_alone(module_path!(), test, ADDRESS, Path::new(&server.uri()));
    taken.extend(was_taken.try_iter());
    let metrics = keys_of(&taken, "metrics");
    // Two metrics have the second name.
    for (name, values) in [("train_loss_step", 20), ("train_क__step", 40)] {
        assert_eq!(metrics.iter().filter(|key| *key == name).count(), values, "{name} {said}");
    }
    assert!(metrics.iter().any(|key| key == "train_huge_epoch"), "{metrics:?}");
    let params = keys_of(&taken, "params");
    assert!(params.len() > 10 && params.contains(&"__lr".to_owned()), "{params:?}");
    for (said_once, count) in [
        ("leaves out the metric \"train_huge\", which the server rejects: the server answers 400", 1),
        ("leaves out the parameter \"trainer.seed\", which the server rejects", 1),
        ("the metrics train_का and train_कि have one name there, train_क__", 1),
        ("the parameters का and कि have one name there, क_: it has the value of का", 1),
        ("has rejected", 0),
    ] {
        assert_eq!(said.matches(said_once).count(), count, "{said_once}: {said}");
    }
    let last = server.requests().pop().unwrap();
    assert!(last.line.contains("runs/update") && last.body.contains("FINISHED"), "{last:?}");
}

#[test]
fn a_real_server_takes_names_that_it_does_not_allow_as_they_were() {
    if is_alone() {
        let root = tempfile::tempdir().unwrap();
        return train_named(config(root.path(), 1));
    }
    let files = tempfile::tempdir().unwrap();
    let server = MlflowServer::start(files.path(), free_port());
    let test = "a_real_server_takes_names_that_it_does_not_allow_as_they_were";
    let said = said_alone(module_path!(), test, ADDRESS, Path::new(&server.uri));
    assert!(!said.contains("rejects"), "{said}");
    let run = server.only_run("Default");
    assert_eq!(run["info"]["status"], "FINISHED");
    let id = run["info"]["run_id"].as_str().unwrap();
    let expected: Vec<(u64, f64)> = (1..=10).flat_map(|step| [(step, 0.25), (step, 0.5)]).collect();
    assert_eq!(server.curve(id, "train_क__step"), expected, "{said}");
    let params = &run["data"]["params"];
    assert_eq!((value_of(params, "__lr"), value_of(params, "क_")), ("0.1", "3"));
}

/// Has the directory, in the process that the test starts.
const EVENTS: &str = "TEST_EVENTS_OF_LARGE_VALUES_IN";

#[test]
fn a_value_that_tensorboard_has_as_infinite_is_said_once_with_its_metric() {
    if let Some(root) = std::env::var_os(EVENTS) {
        let config = config(Path::new(&root), 2).with_trackers(["tensorboard"]);
        train_by(config.with_trackers_wait_seconds(600.0), Script::default(), |trainer| {
            trainer.callback(Named)
        })
        .unwrap();
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let test = "a_value_that_tensorboard_has_as_infinite_is_said_once_with_its_metric";
    let said = said_alone(module_path!(), test, EVENTS, root.path());
    assert_eq!(said.matches("train_huge has a value of 1e300").count(), 1, "{said}");
    assert_eq!(said.matches("is infinite in the 32 bits of TensorBoard").count(), 1, "{said}");
}
