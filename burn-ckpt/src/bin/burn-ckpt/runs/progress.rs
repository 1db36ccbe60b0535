//! How far a run is: what its newest checkpoint says, and the best values of its metrics among all of its
//! checkpoints. `logged_progress` has what the log says of a run without one.

use std::path::PathBuf;

use burn_ckpt::Metadata;
use burn_ckpt::plumbing::{OtherOrigin, epochs_done, is_done, primary_metric};
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::ls::listing::Row;
use crate::ls::metric_mode::{is_best_by, mode_of_best_link, stated_mode};
use crate::trainer_settings::{flat, settings};

/// A run's progress.
pub struct Progress {
    /// Epochs that are done.
    pub epochs: u64,
    pub max_epochs: Option<u64>,
    /// Why it is done before its last epoch.
    pub ended_because: Option<String>,
    pub steps: u64,
    pub seconds: f64,
    /// Over the whole run, validations left out. `None` if its checkpoints do not say it.
    pub items_per_second: Option<f64>,
    /// `None` if a log without times is all that there is.
    pub started: Option<Timestamp>,
    /// When the newest checkpoint was. `None` of a run without one, of which the log says the rest.
    pub saved: Option<Timestamp>,
    /// The metric that ranks its checkpoints.
    pub primary: Option<String>,
    /// What the run's link to the best checkpoint by the primary metric leads to. `None` without such a link.
    pub best_checkpoint: Option<BestCheckpoint>,
    /// In the order in which they were logged.
    pub metrics: IndexMap<String, MetricValues>,
    /// By their paths.
    pub hparams: Map<String, Value>,
    /// The trainer's whole configuration, by paths.
    pub settings: Map<String, Value>,
}

/// The best checkpoint by the primary metric. After a resume from an earlier checkpoint it can be of a part
/// of the run that was trained again, and whose values are not in the log.
#[derive(Debug, Clone)]
pub struct BestCheckpoint {
    pub path: PathBuf,
    pub epoch: u64,
    pub step: u64,
    pub value: f64,
    /// In what it differs from the newest checkpoint.
    pub other_origin: OtherOrigin,
}

impl BestCheckpoint {
    /// `rows` are whole.
    fn find(rows: &[&Row], newest: &Row, primary: &str) -> Option<Self> {
        let row = rows.iter().find(|row| is_best_by(row, primary))?;
        let metadata = row.metadata.as_ref()?;
        let value = metadata.metrics.get(primary).copied().filter(|value| !value.is_nan())?;
        let (epoch, step) = (metadata.epoch, metadata.global_step);
        let mut other_origin = OtherOrigin::default();
        // Its starts are in its whole metadata alone.
        if let Some(newest) =
            (row.path != newest.path).then(|| Metadata::of_checkpoint(&newest.path).ok()).flatten()
        {
            other_origin = OtherOrigin::of(metadata, &newest);
        }
        Some(Self { path: row.path.clone(), epoch, step, value, other_origin })
    }
}

/// The values of a metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricValues {
    /// In the newest checkpoint that has it.
    pub newest: f64,
    /// Its direction, and the best value among the checkpoints, if the run says whether lower or higher is
    /// better. Of the primary metric it is the value of the run's best checkpoint.
    pub best: Option<(MetricMode, f64)>,
}

impl MetricValues {
    /// The best value, or the newest.
    pub fn shown(&self) -> f64 {
        self.best.map_or(self.newest, |(_, best)| best)
    }
}

impl Progress {
    /// The progress of a run with these checkpoints, the oldest first. `state` is the state of the training
    /// in the newest one.
    pub fn of(rows: &[Row], newest: &Row, state: &Value) -> Option<Self> {
        let metadata = newest.metadata.as_ref()?;
        let config = &metadata.trainer_config;
        let whole: Vec<&Row> = rows.iter().filter(|row| row.problem.is_none()).collect();
        let primary = primary_metric(config).map(str::to_owned);
        let best_checkpoint =
            primary.as_deref().and_then(|primary| BestCheckpoint::find(&whole, newest, primary));
        let mut metrics = metrics(&whole, metadata, state);
        if let (Some(primary), Some(best)) = (&primary, &best_checkpoint)
            && let Some((_, value)) = metrics.get_mut(primary).and_then(|values| values.best.as_mut())
        {
            *value = best.value;
        }
        let mut progress = Self {
            epochs: epochs_done(metadata, state),
            ended_because: None,
            max_epochs: config["max_epochs"].as_u64(),
            steps: metadata.global_step,
            seconds: metadata.training_time_seconds,
            items_per_second: metadata.speed["items_per_second"].as_f64(),
            started: Some(metadata.start_timestamp),
            saved: Some(metadata.checkpoint_timestamp),
            primary,
            best_checkpoint,
            metrics,
            hparams: flat(&metadata.hparams),
            settings: settings(config),
        };
        if is_done(metadata, state) && progress.max_epochs.is_some_and(|max| progress.epochs < max) {
            let noted = state["ended_because"].as_str();
            // Checkpoints of earlier versions do not say it.
            progress.ended_because = noted.or_else(|| progress.limit()).map(str::to_owned);
        }
        Some(progress)
    }

    /// Which limit of its configuration the run has come to.
    fn limit(&self) -> Option<&'static str> {
        let is_at = |limit: &str, done: f64| {
            let limit = self.settings.get(limit).and_then(Value::as_f64);
            limit.is_some_and(|limit| done >= limit)
        };
        match () {
            () if is_at("max_steps", self.steps as f64) => Some("max_steps"),
            () if is_at("max_time", self.seconds) => Some("max_time"),
            () => None,
        }
    }

    /// How the best checkpoint differs from what the run's line says, in words. `None` where it does not.
    pub fn best_differs(&self) -> Option<String> {
        let BestCheckpoint { step, other_origin, .. } = self.best_checkpoint.as_ref()?;
        Some(format!("the best checkpoint (step {step}) {}", other_origin.in_words()?))
    }

    /// The values of the primary metric.
    pub fn best(&self) -> Option<(&str, MetricValues)> {
        let primary = self.primary.as_deref()?;
        Some((primary, *self.metrics.get(primary)?))
    }
}

fn metrics(whole: &[&Row], newest: &Metadata, state: &Value) -> IndexMap<String, MetricValues> {
    let metadata = || whole.iter().filter_map(|row| row.metadata.as_ref());
    let mut found: IndexMap<String, MetricValues> = IndexMap::new();
    for (name, value) in metadata().flat_map(|metadata| &metadata.metrics) {
        found.insert(name.clone(), MetricValues { newest: *value, best: None });
    }
    for (name, values) in &mut found {
        let of_all = || metadata().filter_map(|metadata| metadata.metrics.get(name)).copied();
        let Some(mode) = mode(whole, newest, state, name) else { continue };
        let numbers = of_all().filter(|value| !value.is_nan());
        let best = numbers.reduce(|best, value| match mode {
            MetricMode::Max => best.max(value),
            MetricMode::Min => best.min(value),
        });
        values.best = Some((mode, best.unwrap_or(f64::NAN)));
    }
    found
}

/// In which direction a metric is better, as far as the run says it.
fn mode(rows: &[&Row], newest: &Metadata, state: &Value, metric: &str) -> Option<MetricMode> {
    let of_link = || {
        let values = rows.iter().filter_map(|row| row.metadata.as_ref()?.metrics.get(metric));
        let mut values = values.filter(|value| !value.is_nan());
        let first = values.next()?;
        // Of one value no direction can be seen.
        values.any(|value| value != first).then(|| mode_of_best_link(rows, metric, None)).flatten()
    };
    stated_mode(rows, &newest.trainer_config, state, metric).or_else(of_link)
}
