//! `burn-ckpt ls` of an address: the checkpoints of a run in a mirror, or of each run.

use std::collections::BTreeMap;

use burn_ckpt::metadata::NonFiniteTensors;
use burn_ckpt::mirror::{MirrorAddress, MirroredCheckpoint, MirroredRun};
use burn_ckpt::plumbing::{CHECKPOINT_DIR, METADATA_SUFFIX, link_name};
use burn_ckpt::{Checkpoint, Error, chain};
use indexmap::IndexSet;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ls::columns::checkpoint_table;
use crate::ls::metrics::{ALL, check_metrics, shown_by_default};
use crate::metrics::json::json_metrics;
use crate::mirror::condition::{dangling, directory, links, say_what_is_lost};
use crate::mirror::{FoundRuns, runs_at};
use crate::terminal::figures::{age, number, size};
use crate::terminal::output::{Output, say};
use crate::terminal::table::{Cell, Table, Tone};
use crate::verb_result::{Failure, VerbResult};

/// Lists an address. `wanted` are the metrics to show, or all of them.
pub fn run(address: &MirrorAddress, wanted: &[String], as_json: bool) -> VerbResult {
    let FoundRuns { runs, unreadable } = runs_at(address)?;
    let checkpoints = runs.iter().flat_map(MirroredRun::checkpoints);
    check_metrics(wanted, checkpoints.flat_map(|checkpoint| checkpoint.metrics.keys()))?;
    let mut output = Output::new();
    if as_json {
        let mut listed = runs.iter().map(run_json).collect::<Result<Vec<_>, _>>()?;
        listed.extend(unreadable.iter().map(|(run, error)| unreadable_json(run, error)));
        output.json(&Value::from(listed))?;
    } else {
        for (place, run) in runs.iter().enumerate() {
            if runs.len() + unreadable.len() > 1 {
                output.line(format!("{}{}:", if place > 0 { "\n" } else { "" }, run.run_id()))?;
            }
            output.table(table(run, wanted)?, 0)?;
        }
    }
    output.flush()?;
    let mut is_whole = unreadable.is_empty();
    for (run, error) in &unreadable {
        say(format!("error: {run} cannot be read: {}", chain(error)));
    }
    for run in &runs {
        for (name, error) in run.broken() {
            say(format!("error: {name} is not whole: {}", chain(error)));
            is_whole = false;
        }
        for (link, target) in dangling(run, &links(run)?) {
            say(format!("error: the link {link} leads to {target}, which is missing"));
            is_whole = false;
        }
        for (link, error) in run.broken_links()? {
            say(format!("error: {link}: {}", chain(&error)));
            is_whole = false;
        }
        say_what_is_lost(run);
    }
    Ok(is_whole)
}

fn table(run: &MirroredRun, wanted: &[String]) -> Result<Table, Failure> {
    let (links, now) = (links(run)?, Timestamp::now());
    let logged: IndexSet<&String> =
        run.checkpoints().iter().flat_map(|checkpoint| checkpoint.metrics.keys()).collect();
    let metrics = match wanted {
        [] => {
            // What a mirror says of a checkpoint does not say which metric ranks it. The link does.
            let is_linked = |metric: &&String| {
                link_name(&format!("best_{metric}")).is_ok_and(|link| run.links().contains(&link.as_str()))
            };
            let primary = logged.iter().copied().find(is_linked).map(String::as_str);
            shown_by_default(logged.iter().map(|name| name.as_str()).collect(), primary)
        }
        wanted if wanted.iter().any(|name| name == ALL) => logged.into_iter().cloned().collect(),
        wanted => wanted.to_vec(),
    };
    let mut table = checkpoint_table(&metrics);
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
    let mut unsound = |name: &str, own: &str, state: String| {
        let mut cells = vec![name.to_owned()];
        cells.resize(table.columns() - 2, String::new());
        let last = [Cell::new(own, Tone::Good), Cell::new(state, Tone::Bad)];
        table.row(cells.into_iter().map(Cell::from).chain(last));
    };
    for (name, error) in run.broken() {
        let own = links.get(name).map(|links| links.join(" ")).unwrap_or_default();
        unsound(name, &own, chain(error));
    }
    for (link, target) in dangling(run, &links) {
        unsound(&link, "", format!("points to a missing file: {target}"));
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

/// A run as `ls` prints one on disk, as far as a mirror says it.
fn run_json(run: &MirroredRun) -> Result<Value, Failure> {
    let links = links(run)?;
    let whole = run.checkpoints().iter().map(|checkpoint| row_json(run, checkpoint, &links));
    let mut rows: Vec<Value> = whole.collect();
    rows.extend(run.broken().iter().map(|(name, error)| {
        json!({
            "file": name,
            "path": run.address_of(name),
            "links": links.get(name).cloned().unwrap_or_default(),
            "whole": false,
            "problem": chain(error),
            "size_bytes": null,
            "non_finite": null,
            "run_id": null,
            "checkpoint_timestamp": null,
            "epoch": null,
            "global_step": null,
            "metrics": null,
            "reason": null,
            "tags": null,
            "notes": null,
            "checkpoint_checksum": null,
            "files": null,
        })
    }));
    let dangling = dangling(run, &links);
    let dangling = dangling.into_iter().map(|(link, target)| json!({ "link": link, "target": target }));
    Ok(json!({
        "run": run.run_id(),
        "directory": directory(run),
        "checkpoints": rows,
        "dangling_links": dangling.collect::<Vec<Value>>(),
        // A mirror says nothing of the one, and the other is a run of its own.
        "unfinished": [],
        "unreadable": [],
    }))
}

/// The same of a run that cannot be read.
fn unreadable_json(run: &str, error: &Error) -> Value {
    json!({
        "run": run.rsplit('/').next().unwrap_or_default(),
        "directory": format!("{run}/{CHECKPOINT_DIR}"),
        "checkpoints": [],
        "dangling_links": [],
        "unfinished": [],
        "unreadable": [chain(error)],
    })
}

fn row_json(
    run: &MirroredRun,
    checkpoint: &MirroredCheckpoint,
    links: &BTreeMap<String, Vec<String>>,
) -> Value {
    let path = run.address_of(&checkpoint.name);
    // Which tensors are not finite, the metadata alone says.
    let metadata = || Checkpoint::open(&path)?.metadata();
    let non_finite = match checkpoint.non_finite.then(metadata) {
        None => Some(NonFiniteTensors::default()),
        Some(Ok(metadata)) => metadata.non_finite,
        Some(Err(error)) => {
            say(format!("warning: which of its values are not finite is not known: {}", chain(&error)));
            None
        }
    };
    json!({
        "file": checkpoint.name,
        "path": path,
        "links": links.get(&checkpoint.name).cloned().unwrap_or_default(),
        "whole": true,
        "problem": null,
        "size_bytes": bytes(checkpoint),
        "non_finite": non_finite,
        "run_id": checkpoint.run_id,
        "checkpoint_timestamp": checkpoint.checkpoint_timestamp,
        "epoch": checkpoint.epoch,
        "global_step": checkpoint.global_step,
        "metrics": json_metrics(&checkpoint.metrics),
        "reason": checkpoint.reason,
        "tags": null,
        "notes": null,
        "checkpoint_checksum": checkpoint.sha256(),
        "files": checkpoint.files,
    })
}
