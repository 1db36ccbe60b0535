//! A run on a real MLflow server: everything by its API, also after a kill of the run and of the server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use burn_ckpt::metrics_log::{self, Scope};
use indexmap::IndexMap;
use serde_json::Value;
use system_tests::programs::python::python_of_trackers;
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, run_dir};

use super::files::assert_table_and_events_are_those_of_the_log;

/// The server takes some 10 seconds to start on an idle machine.
const PATIENCE: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(50);
const ARGUMENTS: &str = "--run-id r1 --save-every-steps 8 --ckpt-path auto --set notes=tried \
                         --set trackers=[\"mlflow\",\"csv\",\"tensorboard\"] --set trackers_wait_seconds=600";

/// An MLflow server with its files in a directory. It is killed with this.
pub struct MlflowServer {
    child: Child,
    pub uri: String,
}

impl MlflowServer {
    /// Starts it, and waits until it answers.
    pub fn start(files: &Path, port: u16) -> Self {
        let log = fs::File::create(files.join("server.log")).unwrap();
        let mut command = Command::new(python_of_trackers());
        command.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port"]);
        command.arg(port.to_string()).arg("--backend-store-uri");
        command.arg(format!("sqlite:///{}/mlflow.db", files.display()));
        command.arg("--artifacts-destination").arg(files.join("artifacts"));
        command.env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false").current_dir(files);
        // It has processes of its own.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let server = Self { child: command.spawn().unwrap(), uri: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while ureq::get(format!("{}/health", server.uri)).call().is_err() {
            let log = || fs::read_to_string(files.join("server.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the server does not answer: {}", log());
            std::thread::sleep(POLL);
        }
        server
    }

    fn get(&self, endpoint: &str, query: &[(&str, &str)]) -> Value {
        let mut request = ureq::get(format!("{}/api/2.0/mlflow/{endpoint}", self.uri));
        for (key, value) in query {
            request = request.query(key, value);
        }
        serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    /// The points of a metric, in the order of their steps.
    pub fn curve(&self, run_id: &str, metric: &str) -> Vec<(u64, f64)> {
        let query = [("run_id", run_id), ("metric_key", metric), ("max_results", "10000")];
        let points =
            self.get("metrics/get-history", &query)["metrics"].as_array().cloned().unwrap_or_default();
        let mut points: Vec<_> = points
            .iter()
            .map(|point| (point["step"].as_u64().unwrap(), point["value"].as_f64().unwrap()))
            .collect();
        points.sort_by(|one, other| one.partial_cmp(other).unwrap());
        points
    }

    /// The only run of an experiment.
    pub fn only_run(&self, experiment: &str) -> Value {
        let experiment = self.get("experiments/get-by-name", &[("experiment_name", experiment)]);
        let id = experiment["experiment"]["experiment_id"].as_str().unwrap();
        let body = serde_json::json!({ "experiment_ids": [id] }).to_string();
        let request = ureq::post(format!("{}/api/2.0/mlflow/runs/search", self.uri));
        let mut found = request.content_type("application/json").send(body).unwrap();
        let found: Value = serde_json::from_str(&found.body_mut().read_to_string().unwrap()).unwrap();
        let [run] = &found["runs"].as_array().unwrap()[..] else { panic!("{found}") };
        run.clone()
    }

    fn kill(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A training program that logs to a server.
fn tracked(root: &Path, port: u16, epochs: usize) -> Command {
    let mut command = warmup(root, &format!("{ARGUMENTS} --epochs {epochs}"));
    command.env("MLFLOW_TRACKING_URI", format!("http://127.0.0.1:{port}/"));
    command.env("MLFLOW_EXPERIMENT_NAME", "sines & co").env("LOGNAME", "ada");
    command
}

/// The curves of the run's log, by the names that they have on the server.
fn logged(run: &Path) -> IndexMap<String, Vec<(u64, f64)>> {
    let mut curves: IndexMap<String, Vec<(u64, f64)>> = IndexMap::new();
    for line in metrics_log::read(run).unwrap() {
        let line = line.unwrap();
        let suffix = match line.scope {
            Scope::Batch => "_step",
            Scope::Epoch => "_epoch",
            _ => "",
        };
        for (name, value) in line.metrics {
            curves.entry(name + suffix).or_default().push((line.step, value));
        }
    }
    curves
}

/// Compares the server's curves with those of the log.
fn assert_is_logged(server: &MlflowServer, run: &Path) -> Value {
    let on_server = server.only_run("sines & co");
    let id = on_server["info"]["run_id"].as_str().unwrap();
    let curves = logged(run);
    assert!(curves.contains_key("train_loss_step") && curves.contains_key("val_loss"));
    for (name, points) in &curves {
        assert_eq!(server.curve(id, name), *points, "{name}");
    }
    on_server
}

pub fn value_of<'a>(list: &'a Value, key: &str) -> &'a str {
    let found = list.as_array().unwrap().iter().find(|entry| entry["key"] == key);
    found.unwrap_or_else(|| panic!("{key} in {list}"))["value"].as_str().unwrap()
}

#[test]
fn a_run_on_a_real_server_is_complete_after_kills_of_the_run_and_of_the_server() {
    let (root, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = run_dir(root.path());
    let port = free_port();
    let mut server = MlflowServer::start(files.path(), port);

    // The run is killed when the server has values from beyond the checkpoint.
    let gate = Gate::closed();
    let hooks = TestHooks::wait(Split::Train, 45, &gate);
    let mut running = Running::start(hooks.given_to(tracked(root.path(), port, 2)));
    let state = run.join("tracker-mlflow.json");
    running.wait_for("values from beyond step 40 are sent", |_| {
        let state = fs::read_to_string(&state).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        serde_json::from_value(state["sent"]["batch"].clone()).is_ok_and(|sent: (u64, u64)| sent > (1, 10))
    });
    running.kill();
    let mut command = tracked(root.path(), port, 3);
    command.args(["--set", "max_steps=60"]);
    Running::start(command).end_well();
    let on_server = assert_is_logged(&server, &run);
    let (info, data) = (&on_server["info"], &on_server["data"]);
    assert_eq!((&info["status"], &info["run_name"]), (&"FINISHED".into(), &"r1".into()));
    assert_eq!(value_of(&data["params"], "hidden"), "32");
    assert_eq!(value_of(&data["params"], "trainer.seed"), "42");
    assert_eq!(value_of(&data["params"], "trainer.best.topk"), "1");
    assert_eq!(value_of(&data["tags"], "mlflow.note.content"), "tried");
    assert_eq!(value_of(&data["tags"], "burn_trainer.run_id"), "r1");
    assert_eq!(value_of(&data["tags"], "mlflow.user"), "ada");
    assert!(value_of(&data["tags"], "burn_trainer.ended").contains("60"), "{}", data["tags"]);
    let last = checkpoints(root.path()).join("last/epoch=1-step=60.ckpt");
    let artifacts = files.path().join("artifacts");
    let id = info["experiment_id"].as_str().unwrap();
    let uploaded = artifacts
        .join(id)
        .join(info["run_id"].as_str().unwrap())
        .join("artifacts/checkpoints/last/epoch=1-step=60.ckpt");
    assert_eq!(fs::read(&uploaded).unwrap(), fs::read(&last).unwrap());

    // The server is killed while the run goes.
    let gate = Gate::closed();
    let hooks = TestHooks::wait(Split::Train, 15, &gate);
    let mut command = hooks.given_to(tracked(root.path(), port, 3));
    command.args(["--set", "trackers_wait_seconds=6"]);
    let mut running = Running::start(command);
    running.wait_for("the run has come to its gate", |_| gate.is_reached());
    server.kill();
    gate.open();
    let ended = running.end_well();
    assert_eq!(ended.stderr.matches("the tracker mlflow: ").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("the tracker mlflow did not get "), "{}", ended.stderr);
    assert_table_and_events_are_those_of_the_log(&run);

    // It gets what it has missed when the run resumes.
    let server = MlflowServer::start(files.path(), port);
    Running::start(tracked(root.path(), port, 4)).end_well();
    let on_server = assert_is_logged(&server, &run);
    assert_eq!(on_server["info"]["status"], "FINISHED");
    let tags = &on_server["data"]["tags"];
    assert_eq!(value_of(tags, "burn_trainer.changed_params"), "trainer.max_epochs=4");
    assert!(!tags.to_string().contains("burn_trainer.ended"), "it ended after its last epoch: {tags}");
    let mut left: Vec<_> = fs::read_dir(uploaded.parent().unwrap()).unwrap().collect();
    left.sort_by_key(|file| file.as_ref().unwrap().file_name());
    let left: Vec<_> = left.into_iter().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["epoch=3-step=120.ckpt", "epoch=3-step=120.ckpt.metadata.json"]);
}
