//! How far a run is: what its newest checkpoint says, and the best values of its metrics among all of its
//! checkpoints.

use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, EndedBy, ended_by, epochs_done, is_done, link_name};
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Checkpoint, Metadata};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::ls::listing::Row;
use crate::ls::metric_mode::{configured_mode, mode_of_best_link, primary_metric};
use crate::trainer_settings::flat;

/// A run's progress.
pub struct Progress {
    /// Epochs that are done.
    pub epochs: u64,
    pub max_epochs: Option<u64>,
    /// Whether the training is complete.
    pub is_done: bool,
    ended_by: Option<EndedBy>,
    pub steps: u64,
    pub seconds: f64,
    /// Over the whole run, validations left out. `None` if its checkpoints do not say it.
    pub items_per_second: Option<f64>,
    pub started: Timestamp,
    pub saved: Timestamp,
    /// The metric that ranks its checkpoints.
    pub primary: Option<String>,
    /// In the order in which they were logged.
    pub metrics: IndexMap<String, MetricValues>,
    /// By their paths.
    pub hparams: Map<String, Value>,
    /// The trainer's whole configuration, by paths.
    pub settings: Map<String, Value>,
}

/// The values of a metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricValues {
    /// In the newest checkpoint that has it.
    pub newest: f64,
    /// Its direction, and the best value among the checkpoints, if the run says whether lower or higher is
    /// better.
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
        Some(Self {
            epochs: epochs_done(metadata, state),
            is_done: is_done(metadata, state),
            ended_by: ended_by(metadata, state),
            max_epochs: config["max_epochs"].as_u64(),
            steps: metadata.global_step,
            seconds: metadata.training_time_seconds,
            items_per_second: metadata.speed["items_per_second"].as_f64(),
            started: metadata.start_timestamp,
            saved: metadata.checkpoint_timestamp,
            primary: primary_metric(config).map(str::to_owned),
            metrics: metrics(rows, metadata, state),
            hparams: flat(&metadata.hparams),
            settings: flat(config),
        })
    }

    /// Which limit has ended a run that is done before its last epoch.
    pub fn limit(&self) -> Option<&'static str> {
        self.ended_by.and_then(EndedBy::limit)
    }

    /// The values of the primary metric.
    pub fn best(&self) -> Option<(&str, MetricValues)> {
        let primary = self.primary.as_deref()?;
        Some((primary, *self.metrics.get(primary)?))
    }
}

fn metrics(rows: &[Row], newest: &Metadata, state: &Value) -> IndexMap<String, MetricValues> {
    let whole: Vec<&Row> = rows.iter().filter(|row| row.problem.is_none()).collect();
    let metadata = || whole.iter().filter_map(|row| row.metadata.as_ref());
    let mut found: IndexMap<String, MetricValues> = IndexMap::new();
    for (name, value) in metadata().flat_map(|metadata| &metadata.metrics) {
        found.insert(name.clone(), MetricValues { newest: *value, best: None });
    }
    for (name, values) in &mut found {
        let of_all = || metadata().filter_map(|metadata| metadata.metrics.get(name)).copied();
        let Some(mode) = mode(&whole, newest, state, name) else { continue };
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
    // The newest state of an earlier version has the modes of those strategies alone that it was saved for.
    let of_best_state = || {
        let link = link_name(&format!("best_{metric}")).ok()?;
        let link = link.strip_suffix(CHECKPOINT_SUFFIX)?;
        let best = rows.iter().find(|row| row.links.iter().any(|name| name == link))?;
        // One that cannot be read is reported when it is opened.
        let state = Checkpoint::open(&best.path).and_then(|checkpoint| checkpoint.trainer_state()).ok()?;
        mode_in(&state, metric)
    };
    let of_link = || {
        let values = rows.iter().filter_map(|row| row.metadata.as_ref()?.metrics.get(metric));
        let mut values = values.filter(|value| !value.is_nan());
        let first = values.next()?;
        // Of one value no direction can be seen.
        values.any(|value| value != first).then(|| mode_of_best_link(rows, metric, None)).flatten()
    };
    mode_in(state, metric)
        .or_else(|| configured_mode(&newest.trainer_config, metric))
        .or_else(of_best_state)
        .or_else(of_link)
}

/// The mode of the strategy that ranks by the metric, if a state says it.
fn mode_in(state: &Value, metric: &str) -> Option<MetricMode> {
    let modes = state["modes"].as_object()?;
    // `best:val_loss`, or `best:val_loss:DIRPATH`.
    let ranks_by_metric = |strategy: &str| {
        let ranked_by = strategy.split_once(':').map(|(_, ranked_by)| ranked_by);
        let rest = ranked_by.and_then(|ranked_by| ranked_by.strip_prefix(metric));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    let (_, mode) = modes.iter().find(|(strategy, _)| ranks_by_metric(strategy))?;
    serde_json::from_value(mode.clone()).ok()
}
