//! `burn-ckpt ls` of an address: the checkpoints of a run in a mirror, or of each run.

use std::collections::BTreeMap;

use burn_ckpt::chain;
use burn_ckpt::mirror::{MirrorAddress, MirroredCheckpoint, MirroredRun};
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, METADATA_SUFFIX};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ls::metrics::{ALL, unknown_metric};
use crate::mirror::runs_at;
use crate::terminal::figures::{age, number, size};
use crate::terminal::output::{Output, say};
use crate::terminal::table::{Align, Cell, Table, Tone};
use crate::verb_result::{Failure, VerbResult};

/// How many metrics a table has, unless they are named.
const SHOWN_METRICS: usize = 3;

/// Lists an address. `wanted` are the metrics to show, or all of them.
pub fn run(address: &MirrorAddress, wanted: &[String], as_json: bool) -> VerbResult {
    let runs = runs_at(address)?;
    check_metrics(&runs, wanted)?;
    let mut output = Output::new();
    if as_json {
        let runs = runs.iter().map(run_json).collect::<Result<Vec<_>, _>>()?;
        output.json(&Value::from(runs))?;
    } else {
        for (place, run) in runs.iter().enumerate() {
            if runs.len() > 1 {
                output.line(format!("{}{}:", if place > 0 { "\n" } else { "" }, run.run_id()))?;
            }
            output.table(table(run, wanted)?, 0)?;
        }
    }
    output.flush()?;
    for (name, error) in runs.iter().flat_map(MirroredRun::broken) {
        say(format!("error: {name} is not whole: {}", chain(error)));
    }
    Ok(runs.iter().all(|run| run.broken().is_empty()))
}

/// Checks that each of the names is that of a metric of some checkpoint.
fn check_metrics(runs: &[MirroredRun], wanted: &[String]) -> Result<(), Failure> {
    let checkpoints = || runs.iter().flat_map(MirroredRun::checkpoints);
    let is_known = |name: &str| name == ALL || checkpoints().any(|it| it.metrics.contains_key(name));
    match wanted.iter().find(|name| !is_known(name)) {
        Some(name) => {
            Err(unknown_metric(name, checkpoints().flat_map(|checkpoint| checkpoint.metrics.keys())))
        }
        None => Ok(()),
    }
}

/// The links to each checkpoint, without ending.
fn links(run: &MirroredRun) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for link in run.links() {
        if let Some(target) = run.link_target(link)? {
            let name = link.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(link);
            links.entry(target).or_default().push(name.to_owned());
        }
    }
    Ok(links)
}

fn table(run: &MirroredRun, wanted: &[String]) -> Result<Table, Failure> {
    let (links, now) = (links(run)?, Timestamp::now());
    let mut metrics: Vec<String> = Vec::new();
    for metric in run.checkpoints().iter().rev().flat_map(|checkpoint| checkpoint.metrics.keys()) {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    match wanted {
        [] => {
            metrics.sort_by_key(|metric| !metric.starts_with("val_"));
            metrics.truncate(SHOWN_METRICS);
        }
        wanted if wanted.iter().any(|name| name == ALL) => {}
        wanted => metrics = wanted.to_vec(),
    }
    let mut columns = vec![("file", Align::Left), ("epoch", Align::Right), ("step", Align::Right)];
    columns.extend(metrics.iter().map(|metric| (metric.as_str(), Align::Right)));
    columns.extend([
        ("size", Align::Right),
        ("age", Align::Right),
        ("links", Align::Left),
        ("state", Align::Left),
    ]);
    let mut table = Table::new(&columns);
    for checkpoint in run.checkpoints() {
        let mut cells =
            vec![checkpoint.name.clone(), checkpoint.epoch.to_string(), checkpoint.global_step.to_string()];
        cells.extend(
            metrics
                .iter()
                .map(|metric| checkpoint.metrics.get(metric).copied().map_or_else(String::new, number)),
        );
        cells.extend([size(bytes(checkpoint)), age(checkpoint.checkpoint_timestamp, now)]);
        let own = links.get(&checkpoint.name).map(|links| links.join(" ")).unwrap_or_default();
        let state = Cell::new(state(checkpoint), if checkpoint.non_finite { Tone::Bad } else { Tone::Plain });
        table.row(cells.into_iter().map(Cell::from).chain([Cell::new(own, Tone::Good), state]));
    }
    Ok(table)
}

/// The size of a checkpoint as on disk: without the metadata beside it.
fn bytes(checkpoint: &MirroredCheckpoint) -> u64 {
    let metadata = format!("{}{METADATA_SUFFIX}", checkpoint.name);
    checkpoint.files.iter().filter(|file| file.name != metadata).map(|file| file.size).sum()
}

fn state(checkpoint: &MirroredCheckpoint) -> &'static str {
    if checkpoint.non_finite { "whole, not finite" } else { "whole" }
}

fn run_json(run: &MirroredRun) -> Result<Value, Failure> {
    let links = links(run)?;
    let checkpoints: Vec<Value> = run
        .checkpoints()
        .iter()
        .map(|checkpoint| {
            json!({
                "file": checkpoint.name,
                "path": run.address_of(&checkpoint.name),
                "run_id": checkpoint.run_id,
                "links": links.get(&checkpoint.name).cloned().unwrap_or_default(),
                "whole": true,
                "epoch": checkpoint.epoch,
                "global_step": checkpoint.global_step,
                "checkpoint_timestamp": checkpoint.checkpoint_timestamp,
                "reason": checkpoint.reason,
                "metrics": serde_json::to_value(checkpoint).unwrap_or_default()["metrics"],
                "non_finite": checkpoint.non_finite,
                "size_bytes": bytes(checkpoint),
                "files": checkpoint.files,
            })
        })
        .collect();
    let broken: Vec<Value> =
        run.broken().iter().map(|(name, error)| json!({ "file": name, "problem": chain(error) })).collect();
    Ok(json!({ "name": run.run_id(), "checkpoints": checkpoints, "broken": broken }))
}
