//! The metrics of checkpoints by name: those that get a column in a table, and names that no checkpoint has.

use std::collections::BTreeSet;

use burn_ckpt::plumbing::primary_metric;
use indexmap::IndexMap;

use crate::ls::listing::Listing;
use crate::verb_result::Failure;
use burn_ckpt::plumbing::near_names::did_you_mean;

/// How many metrics are shown by default.
const SHOWN_METRICS: usize = 3;
/// Stands for all metrics.
pub const ALL: &str = "all";

/// The metrics that get a column: those from the command line, or else all if they are few, or else the
/// primary metric and those of the validation split.
pub fn metrics_of(listing: &Listing, wanted: &[String]) -> Vec<String> {
    let mut logged: IndexMap<&str, ()> = IndexMap::new();
    let metadata = || listing.rows.iter().filter_map(|row| row.metadata.as_ref());
    for metadata in metadata() {
        logged.extend(metadata.metrics.keys().map(|name| (name.as_str(), ())));
    }
    if wanted.iter().any(|name| name == ALL) {
        return logged.keys().map(|name| (*name).to_owned()).collect();
    }
    if !wanted.is_empty() {
        return wanted.to_vec();
    }
    let primary = metadata().next_back().and_then(|metadata| primary_metric(&metadata.trainer_config));
    shown_by_default(logged.into_keys().collect(), primary)
}

/// Of the metrics that were logged, those with a column where none are named.
pub fn shown_by_default(mut names: Vec<&str>, primary: Option<&str>) -> Vec<String> {
    // The sort is stable: equal metrics stay in the order in which they were logged.
    if names.len() >= SHOWN_METRICS {
        names.sort_by_key(|name| match *name {
            name if Some(name) == primary => 0,
            name if name.starts_with("val_") => 1,
            _ => 2,
        });
        let of_training = |name: &&str| !name.starts_with("val_") && Some(*name) != primary;
        if !names.iter().all(of_training) {
            names.retain(|name| !of_training(name));
        }
    }
    names.into_iter().take(SHOWN_METRICS).map(str::to_owned).collect()
}

/// Checks that each of the names is that of a metric of some checkpoint. `known` are all of these.
pub fn check_metrics<'a>(
    wanted: &[String],
    known: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), Failure> {
    match wanted.iter().find(|name| *name != ALL && !known.clone().any(|there| there == *name)) {
        Some(name) => Err(unknown_metric(name, known)),
        None => Ok(()),
    }
}

/// No checkpoint has a metric. Names those that there are.
pub fn unknown_metric<'a>(metric: &str, known: impl Iterator<Item = &'a String>) -> Failure {
    let known: BTreeSet<&str> = known.map(String::as_str).collect();
    let near = did_you_mean(metric, known.iter().copied());
    let known = match known.is_empty() {
        true => "there are no metrics".to_owned(),
        false => format!("the metrics are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Failure::Other(format!("no checkpoint has the metric {metric}; {known}{near}"))
}
