//! MLflow: a run on a server, by its REST API.
//!
//! From top to bottom: this file, then `rejected_names`, `history` and `artifacts`, then `requests` and
//! `shared_names`, then `client`, then `settings`.

mod artifacts;
mod client;
mod history;
mod rejected_names;
mod requests;
mod settings;
mod shared_names;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use burn_ckpt::metrics_log::Line;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::client::Client;
use self::history::{NewMetrics, ServerValues};
use self::rejected_names::RejectedNames;
use self::settings::Settings;
use self::shared_names::SharedNames;
use super::tracker::{StartAt, Tracker, TrackerResult};
use crate::callbacks::{RunEnd, RunInfo};
use crate::error::Result;
use crate::state::end_reason::RunOutcome;
use crate::trackers::flattened::text_of;

/// The tag with the reason why the run ended.
const ENDED: &str = "burn_trainer.ended";
/// The tag with the parameters that are others than at the first start.
const CHANGED: &str = "burn_trainer.changed_params";
/// The tag that says from where on the run has logged other values than an earlier process.
const BRANCHED: &str = "burn_trainer.branched";

/// Logs the run to an MLflow server: parameters, metrics by step, tags, how the run ended, and the best and
/// the last checkpoint as artifacts.
///
/// The server and the credentials come from MLflow's own environment variables alone, so that they are in no
/// file: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_ID` or `MLFLOW_EXPERIMENT_NAME` (else the run's project,
/// else the experiment `Default`), `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
/// `MLFLOW_TRACKING_PASSWORD`.
///
/// Metrics have the names that they have in Lightning's logger: `train_loss_step` for a batch,
/// `train_loss_epoch` for an epoch's training, `val_loss` for a validation. Hyperparameters are parameters
/// under their names (`optimizer.lr` for one within another), settings of the trainer are `trainer.*`. What
/// is too long for MLflow is cut.
///
/// ```no_run
/// # fn main() -> burn_trainer::Result<()> {
/// let tracker = burn_trainer::trackers::Mlflow::from_env()?; // for `Trainer::tracker`
/// # Ok(()) }
/// ```
pub struct Mlflow {
    client: Client,
    settings: Settings,
    run: Option<ServerRun>,
    /// The time of lines that have none. The same in each process of the run: a value of the same time can be
    /// sent twice.
    without_time: Timestamp,
    /// What the server had when the run resumed.
    had: ServerValues,
    metric_names: SharedNames,
    rejected: RejectedNames,
    /// The artifacts that the server has, so that they are not sent again when a later one fails.
    uploaded: HashSet<String>,
}

/// The run on the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ServerRun {
    run_id: String,
    /// Where the server has its artifacts.
    artifact_uri: String,
    /// The first step from which on the server has values of a branch that the run has left, possibly of
    /// later steps.
    #[serde(default)]
    branched_at: Option<u64>,
    /// The step of the last value of each metric that is known to be sent.
    #[serde(default)]
    last_steps: HashMap<String, u64>,
}

impl Mlflow {
    /// With MLflow's environment variables.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) when `MLFLOW_TRACKING_URI` is not set or not an address of
    /// HTTP, and for a variable with characters that cannot be sent.
    pub fn from_env() -> Result<Self> {
        let settings = Settings::from(|name| std::env::var_os(name))?;
        Ok(Self {
            client: Client::new(&settings),
            settings,
            run: None,
            without_time: Timestamp::UNIX_EPOCH,
            had: ServerValues::default(),
            metric_names: SharedNames::default(),
            rejected: RejectedNames::default(),
            uploaded: HashSet::new(),
        })
    }

    /// Sets whether the best and the last checkpoint are uploaded when the run has ended, which they are by
    /// default. The end of the run waits for that no longer than
    /// [`TrackerCallback::with_wait_at_end`](super::TrackerCallback::with_wait_at_end).
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: bool) -> Self {
        self.settings.checkpoints = checkpoints;
        self
    }

    fn run(&self) -> TrackerResult<&ServerRun> {
        Ok(self.run.as_ref().ok_or("it was not started")?)
    }

    /// Makes the run on the server.
    fn create(&mut self, run: &RunInfo) -> TrackerResult {
        let experiment = self.experiment(run)?;
        let environment = run.environment();
        let created = self.client.post(
            "runs/create",
            &requests::create(run, &experiment, &environment, self.settings.user.as_deref()),
        )?;
        let info = &created["run"]["info"];
        let text = |field: &str| info[field].as_str().unwrap_or_default().to_owned();
        let server_run = ServerRun {
            run_id: text("run_id"),
            artifact_uri: text("artifact_uri"),
            branched_at: None,
            last_steps: HashMap::new(),
        };
        if server_run.run_id.is_empty() {
            return Err("the server's answer has no run id".into());
        }
        self.run = Some(server_run);
        Ok(())
    }

    /// The id of the experiment, which is made where it is missing.
    fn experiment(&self, run: &RunInfo) -> TrackerResult<String> {
        if let Some(id) = &self.settings.experiment_id {
            return Ok(id.clone());
        }
        let name = self.settings.experiment_name.as_ref().or(run.project.as_ref());
        let name = name.map_or("Default", String::as_str);
        let get = || self.client.get_if_there("experiments/get-by-name", "experiment_name", name);
        if let Some(found) = get()? {
            return Ok(text_of(&found["experiment"]["experiment_id"]));
        }
        match self.client.post("experiments/create", &json!({ "name": name })) {
            Ok(created) => Ok(text_of(&created["experiment_id"])),
            // Another process may have made it meanwhile.
            Err(error) => get()?.map(|found| text_of(&found["experiment"]["experiment_id"])).ok_or(error),
        }
    }

    /// The values of lines without those that the server has: in the moment of a kill values can be sent of
    /// which the run does not know. With other settings the run has other values of these steps: then the
    /// server gets both.
    fn new_metrics(&mut self, lines: &[Line]) -> TrackerResult<NewMetrics> {
        let metrics = requests::metrics(lines, self.without_time);
        metrics.iter().for_each(|metric| self.metric_names.note_metric(&metric.key, &metric.name));
        let run = self.run.as_ref().ok_or("it was not started")?;
        let new = self.had.without_known(metrics, &run.last_steps, &self.client, &run.run_id)?;
        if let Some(step) = new.branched_at {
            self.note_branch(step)?;
        }
        Ok(new)
    }

    /// These are sent.
    fn note_sent(&mut self, new: NewMetrics) {
        self.had.take_known(&new);
        if let Some(run) = &mut self.run {
            run.last_steps.extend(new.steps);
        }
    }

    /// From this step on the server has values of a branch that the run has left, possibly of later steps.
    fn note_branch(&mut self, step: u64) -> TrackerResult {
        let run = self.run()?;
        if run.branched_at.is_some_and(|earlier| earlier <= step) {
            return Ok(());
        }
        let text = format!("from step {step} on: the charts also have the values from before a resume");
        self.set_tag(&run.run_id, BRANCHED, &text, &Value::Null)?;
        self.run.as_mut().ok_or("it was not started")?.branched_at = Some(step);
        Ok(())
    }

    /// Continues the run on the server. Returns whether the server has it.
    fn resume(&mut self, server_run: ServerRun, run: &RunInfo) -> TrackerResult<bool> {
        let Some(found) = self.client.get_if_there("runs/get", "run_id", &server_run.run_id)? else {
            return Ok(false);
        };
        // Deleted by hand: the server keeps it for a while, and takes nothing for it.
        if found["run"]["info"]["lifecycle_stage"] == "deleted" {
            return Ok(false);
        }
        // Of a run with a branch it is not known which values are those of the branch.
        self.had = match server_run.branched_at {
            None => ServerValues::of(&found["run"]["data"]["metrics"]),
            Some(_) => ServerValues::default(),
        };
        self.client.post("runs/update", &json!({ "run_id": server_run.run_id, "status": "RUNNING" }))?;
        // It has not ended. The parameters stay those of the first start.
        let (run_id, data) = (&server_run.run_id, &found["run"]["data"]);
        self.set_tag(run_id, ENDED, "", &data["tags"])?;
        self.set_tag(run_id, CHANGED, &requests::changed_params(&data["params"], run), &data["tags"])?;
        // Last: a call that fails is repeated.
        self.run = Some(server_run);
        Ok(true)
    }

    /// Sets a tag of a run, which has these. Without a text it is removed. A tag that the server rejects is
    /// only missing.
    fn set_tag(&self, run_id: &str, name: &str, text: &str, tags: &Value) -> TrackerResult {
        let is_there = || tags.as_array().into_iter().flatten().any(|tag| tag["key"] == name);
        let done = if !text.is_empty() {
            let tags = [requests::tag(name, text)];
            self.client.post("runs/log-batch", &json!({ "run_id": run_id, "tags": tags }))
        } else if is_there() {
            self.client.post("runs/delete-tag", &json!({ "run_id": run_id, "key": name }))
        } else {
            return Ok(());
        };
        match done {
            Err(error) if error.is_permanent => {
                log::warn!("the tracker mlflow cannot set the tag {name}: {error}");
                Ok(())
            }
            done => done.map(drop),
        }
    }
}

impl std::fmt::Debug for Mlflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mlflow").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Tracker for Mlflow {
    fn name(&self) -> String {
        "mlflow".to_owned()
    }

    fn start(&mut self, run: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        self.without_time = run.start;
        // A call that failed can have made the run.
        if self.run.is_none() {
            let stored = state.and_then(|state| serde_json::from_value::<ServerRun>(state).ok());
            if let Some(stored) = stored
                && self.resume(stored, run)?
            {
                return Ok(StartAt::FirstUnsent);
            }
            self.create(run)?;
        }
        rejected_names::log_params(&self.client, &self.run()?.run_id, &requests::params(run))?;
        let mut names = SharedNames::default();
        requests::names_of_params(run).iter().for_each(|(key, name)| names.note_param(key, name));
        Ok(StartAt::FirstLine)
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        let new = self.new_metrics(lines)?;
        let run = self.run.as_ref().ok_or("it was not started")?;
        let logged = self.rejected.log_metrics(&self.client, &run.run_id, &new.metrics);
        // What is rejected is not sent again either.
        if logged.as_ref().err().is_none_or(|error| error.is_permanent) {
            self.note_sent(new);
        }
        logged
    }

    fn branch(&mut self, first: &Line) -> TrackerResult {
        // The server keeps both values of a step.
        self.had = ServerValues::default();
        self.note_branch(first.step)
    }

    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        let run_id = &self.run()?.run_id;
        let (status, reason) = match &end.outcome {
            RunOutcome::Done(reason) => ("FINISHED", reason.as_ref().map(ToString::to_string)),
            RunOutcome::Stopped { reason, .. } => ("KILLED", Some(reason.clone())),
            RunOutcome::Failed(error) => ("FAILED", Some(error.clone())),
        };
        self.set_tag(run_id, ENDED, &reason.unwrap_or_default(), &Value::Null)?;
        let end_time = Timestamp::now().as_millisecond();
        let body = json!({ "run_id": run_id, "status": status, "end_time": end_time });
        self.client.post("runs/update", &body).map(drop)
    }

    fn upload(&mut self, end: &RunEnd) -> TrackerResult {
        if !self.settings.checkpoints {
            return Ok(());
        }
        let ServerRun { run_id, artifact_uri, .. } = &self.run()?.clone();
        let run = artifacts::OfRun { client: &self.client, run_id, artifact_uri };
        run.upload(&named(end), &mut self.uploaded)
    }

    fn state(&self) -> Option<Value> {
        serde_json::to_value(self.run.as_ref()?).ok()
    }
}

/// The checkpoints to send, by what they are called as artifacts.
fn named(end: &RunEnd) -> IndexMap<String, PathBuf> {
    let by_name = [("best", end.best()), ("last", end.last())];
    by_name
        .into_iter()
        .filter_map(|(name, checkpoint)| Some((name.to_owned(), checkpoint?.path.clone())))
        .collect()
}
