//! The columns of the table of runs: which there are, which are shown, and what stands in them.

use std::collections::BTreeSet;

use burn_ckpt::plumbing::is_of_result;
use burn_ckpt::retention::MetricMode;
use indexmap::IndexSet;
use serde_json::{Map, Value};

use crate::runs::progress::Progress;
use crate::runs::summary::RunSummary;
use crate::trainer_settings::at;
use crate::verb_result::Failure;
use burn_ckpt::plumbing::near_names::did_you_mean;

/// How many hyperparameters and settings that differ are shown by default.
const SHOWN_DIFFERENCES: usize = 10;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    Run,
    Status,
    Why,
    Epochs,
    Steps,
    Best,
    Time,
    Speed,
    Size,
    Age,
    Started,
    Checkpoints,
    Tags,
    Notes,
    Metric(String),
    Hparam(String),
    Setting(String),
}

/// The columns that are not named by what a run has, each with its name.
const NAMED: [(&str, Column); 14] = [
    ("run", Column::Run),
    ("status", Column::Status),
    ("why", Column::Why),
    ("epochs", Column::Epochs),
    ("steps", Column::Steps),
    ("best", Column::Best),
    ("time", Column::Time),
    ("items/s", Column::Speed),
    ("size", Column::Size),
    ("age", Column::Age),
    ("started", Column::Started),
    ("checkpoints", Column::Checkpoints),
    ("tags", Column::Tags),
    ("notes", Column::Notes),
];

impl Column {
    /// Which of two columns stays where there is no room for both: that of the lower rank.
    pub fn rank(&self) -> usize {
        match self {
            Self::Run | Self::Status => 0,
            Self::Best | Self::Metric(_) => 1,
            Self::Why => 2,
            Self::Epochs => 3,
            Self::Hparam(_) | Self::Setting(_) => 4,
            Self::Tags | Self::Notes => 5,
            Self::Steps => 6,
            Self::Age | Self::Started => 7,
            Self::Time => 8,
            Self::Speed => 9,
            Self::Size | Self::Checkpoints => 10,
        }
    }

    /// The heading. That of the best value names the metric and its direction if they are those of all runs.
    pub fn heading(&self, runs: &[RunSummary]) -> String {
        match self {
            Self::Best => match same_best(runs) {
                Some((metric, mode)) => format!("{metric}{}", direction(mode)),
                None => "best".to_owned(),
            },
            Self::Metric(name) | Self::Hparam(name) | Self::Setting(name) => name.clone(),
            named => name_of(named).to_owned(),
        }
    }
}

fn name_of(column: &Column) -> &'static str {
    NAMED.iter().find(|(_, named)| named == column).map_or("", |(name, _)| name)
}

/// ` (min)`, or nothing for a metric of which the direction is unknown.
pub fn direction(mode: Option<MetricMode>) -> &'static str {
    match mode {
        Some(MetricMode::Min) => " (min)",
        Some(MetricMode::Max) => " (max)",
        None => "",
    }
}

/// The primary metric and its direction, if they are those of all runs.
pub fn same_best(runs: &[RunSummary]) -> Option<(&str, Option<MetricMode>)> {
    let progress = || runs.iter().filter_map(|run| run.progress.as_ref());
    // A run that has saved nothing does not say a direction.
    let any_saved = progress().any(|progress| progress.saved.is_some() && progress.best().is_some());
    let counted = progress().filter(|progress| !any_saved || progress.saved.is_some());
    let best = counted.filter_map(Progress::best);
    let mut all = best.map(|(metric, values)| (metric, values.best.map(|(mode, _)| mode)));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// The column that a user names.
pub fn find(key: &str, runs: &[RunSummary]) -> Result<Column, Failure> {
    if let Some((_, column)) = NAMED.iter().find(|(name, _)| *name == key) {
        return Ok(column.clone());
    }
    let progress = || runs.iter().filter_map(|run| run.progress.as_ref());
    let is_metric = |name: &str| progress().any(|progress| progress.metrics.contains_key(name));
    let is_hparam = |name: &str| progress().any(|progress| at(&progress.hparams, name).is_some());
    let is_setting = |name: &str| progress().any(|progress| at(&progress.settings, name).is_some());
    match key.split_once('.') {
        Some(("metric", name)) if is_metric(name) => return Ok(Column::Metric(name.to_owned())),
        Some(("hparam", name)) if is_hparam(name) => return Ok(Column::Hparam(name.to_owned())),
        Some(("trainer", name)) if is_setting(name) => return Ok(Column::Setting(name.to_owned())),
        _ => {}
    }
    match key {
        key if is_metric(key) => Ok(Column::Metric(key.to_owned())),
        key if is_hparam(key) => Ok(Column::Hparam(key.to_owned())),
        key if is_setting(key) => Ok(Column::Setting(key.to_owned())),
        _ => Err(unknown(key, runs)),
    }
}

fn unknown(key: &str, runs: &[RunSummary]) -> Failure {
    let progress = || runs.iter().filter_map(|run| run.progress.as_ref());
    let list = |names: BTreeSet<&str>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.into_iter().collect::<Vec<_>>().join(", "),
    };
    let metrics = progress().flat_map(|progress| progress.metrics.keys().map(String::as_str)).collect();
    let keys = |map: fn(&Progress) -> &Map<String, Value>| -> BTreeSet<&str> {
        progress().flat_map(|progress| map(progress).keys().map(String::as_str)).collect()
    };
    let columns = NAMED.iter().map(|(name, _)| *name);
    let of_runs = progress().flat_map(|progress| {
        progress.metrics.keys().chain(progress.hparams.keys()).chain(progress.settings.keys())
    });
    let near = did_you_mean(key, columns.chain(of_runs.map(String::as_str)));
    Failure::Other(format!(
        "no run has {key:?}{near}{} Columns: {}. Metrics: {}. Hyperparameters: {}. Trainer settings: {}",
        if near.is_empty() { "." } else { "" },
        NAMED.map(|(name, _)| name).join(", "),
        list(metrics),
        list(keys(|progress| &progress.hparams)),
        list(keys(|progress| &progress.settings)),
    ))
}

/// The columns that are shown: those that the user names, or the usual ones, that by which the runs are
/// sorted, and those of what differs between the runs.
pub fn chosen(
    wanted: &[String],
    sorted_by: Option<&Column>,
    runs: &[RunSummary],
) -> Result<Vec<Column>, Failure> {
    if !wanted.is_empty() {
        return wanted.iter().map(|key| find(key, runs)).collect();
    }
    use Column::{Age, Best, Epochs, Run, Size, Speed, Status, Steps, Tags, Time, Why};
    let mut columns = vec![Run, Status, Epochs, Steps, Best, Time, Speed, Size, Age];
    // What ranks the runs is a metric's best value, as a column of that metric is.
    let same_best = same_best(runs).map(|(metric, _)| Column::Metric(metric.to_owned()));
    let is_usual = |column: &Column| columns.contains(column) || same_best.as_ref() == Some(column);
    let sorted_by = sorted_by.filter(|column| !is_usual(column) && **column != Why);
    columns.extend(sorted_by.cloned());
    columns.extend(differing(runs).into_iter().filter(|c| Some(c) != sorted_by).take(SHOWN_DIFFERENCES));
    if runs.iter().any(|run| !run.tags.tags.is_empty()) && sorted_by != Some(&Tags) {
        columns.push(Tags);
    }
    if runs.iter().any(|run| !run.status.why.is_empty()) {
        columns.push(Why);
    }
    if runs.iter().all(|run| run.progress.as_ref().is_none_or(|progress| progress.best().is_none())) {
        columns.retain(|column| *column != Best);
    }
    // Not in the checkpoints of an earlier version, or of a loader that does not count.
    if runs.iter().all(|run| run.progress.as_ref().is_none_or(|progress| progress.items_per_second.is_none()))
    {
        columns.retain(|column| *column != Speed);
    }
    Ok(columns)
}

/// The hyperparameters and settings that differ between the runs: first those of which runs have several
/// values, then those that only some runs have.
pub fn differing(runs: &[RunSummary]) -> Vec<Column> {
    let progress = runs.iter().filter_map(|run| run.progress.as_ref());
    // Without a checkpoint none is known.
    let progress: Vec<&Progress> = progress.filter(|progress| progress.saved.is_some()).collect();
    let hparams: Vec<&Map<String, Value>> = progress.iter().map(|progress| &progress.hparams).collect();
    let settings: Vec<&Map<String, Value>> = progress.iter().map(|progress| &progress.settings).collect();
    let [hparams, settings] = [&hparams, &settings].map(|of_runs| different_keys(of_runs));
    let hparams = hparams.into_iter().map(|(name, is_partial)| (Column::Hparam(name), is_partial));
    let settings = settings.into_iter().filter(|(name, _)| is_of_result(name));
    let settings = settings.map(|(name, is_partial)| (Column::Setting(name), is_partial));
    let mut all: Vec<(Column, bool)> = hparams.chain(settings).collect();
    all.sort_by_key(|(_, is_partial)| *is_partial);
    all.into_iter().map(|(column, _)| column).collect()
}

/// The keys of which the values differ, each with whether that is only because some runs do not have it. What
/// is a table in some runs and one value in others, as `null`, is one key.
fn different_keys(of_runs: &[&Map<String, Value>]) -> Vec<(String, bool)> {
    let all: IndexSet<&str> = of_runs.iter().flat_map(|map| map.keys().map(String::as_str)).collect();
    let whole = |key: &str| {
        let mut tables = key.match_indices('.').map(|(end, _)| &key[..end]);
        tables.find(|table| all.contains(*table)).unwrap_or(key).to_owned()
    };
    let keys: IndexSet<String> = all.iter().map(|key| whole(key)).collect();
    let compared = keys.into_iter().filter_map(|key| {
        let found: Vec<Option<Value>> = of_runs.iter().map(|map| at(map, &key)).collect();
        let mut values = found.iter().flatten();
        let first = values.next()?;
        let differ = values.any(|value| value != first);
        let is_missing = found.contains(&None);
        (differ || is_missing).then_some((key, !differ))
    });
    compared.collect()
}
