//! The values of the epochs in the history of a run's newest checkpoint: all that a run of a version without
//! a log of metrics has.

use burn_ckpt::metrics_log::{METRICS_FILE, Scope, Split};
use burn_ckpt::plumbing::{is_directory, numbers, parse_json};
use burn_ckpt::{Checkpoint, RunLayout, Section};
use indexmap::IndexMap;
use serde_json::Value;

use crate::answer::Failure;
use crate::ls::listing::Listing;
use crate::metrics::values::Values;
use crate::terminal::output::say;

/// The longest history, in bytes, and the most JSON values in it, as a run reads it.
const MAX_BYTES: usize = 256 * 1024 * 1024;
const MAX_VALUES: usize = 5_000_000;
/// How the names of the metrics of the validation begin.
const OF_VALIDATION: &str = "val_";
/// Keys among an epoch's metrics that are not metrics.
const STEPS: [&str; 2] = ["step", "validated step"];

/// The values of the epochs that are done: for each those of the training, and those of the validation.
pub fn epochs(layout: &RunLayout) -> Result<Vec<Values>, Failure> {
    let run = layout.run_dir().display();
    let rows = match is_directory(&layout.checkpoint_dir())? {
        true => Listing::of_run(layout)?.rows,
        false => Vec::new(),
    };
    let newest = rows.iter().rev().filter(|row| row.problem.is_none());
    for row in newest {
        let checkpoint = Checkpoint::open(&row.path)?;
        if !checkpoint.has_section(Section::HISTORY) {
            continue;
        }
        say(format!(
            "note: {run} has no {METRICS_FILE}, as runs of earlier versions: these are the epochs in {}",
            checkpoint.path().display()
        ));
        return read(&checkpoint);
    }
    Err(Failure::Other(format!(
        "{run} has neither {METRICS_FILE} nor a checkpoint with the history of its metrics"
    )))
}

fn read(checkpoint: &Checkpoint) -> Result<Vec<Values>, Failure> {
    let invalid = |reason: &str| {
        Failure::Other(format!("the history in {} cannot be read: {reason}", checkpoint.path().display()))
    };
    let section = checkpoint.verified_section(Section::HISTORY)?;
    let tensor = section.tensors.first().ok_or_else(|| invalid("it is empty"))?;
    if tensor.byte_len() > MAX_BYTES {
        return Err(invalid(&format!(
            "it has {} bytes, and {MAX_BYTES} at most are read",
            tensor.byte_len()
        )));
    }
    let bytes = tensor.to_bytes().map_err(|error| invalid(&error.to_string()))?;
    let history: Value = parse_json(&bytes, MAX_VALUES).map_err(|error| invalid(&error.to_string()))?;
    let epochs = history["epochs"].as_array();
    let epochs = epochs.ok_or_else(|| invalid("it does not list epochs: another version wrote it"))?;
    let mut found = Vec::new();
    for (epoch, values) in (0..).zip(epochs) {
        let step = |key: &str| values[key].as_u64();
        let mut metrics = values.clone();
        if let Some(metrics) = metrics.as_object_mut() {
            metrics.retain(|name, _| !STEPS.contains(&name.as_str()));
        }
        let metrics: IndexMap<String, f64> =
            numbers::deserialize(metrics).map_err(|error| invalid(&error.to_string()))?;
        let (valid, train): (IndexMap<_, _>, IndexMap<_, _>) =
            metrics.into_iter().partition(|(name, _)| name.starts_with(OF_VALIDATION));
        let of = |step, split, scope, metrics| Values {
            step,
            epoch,
            split,
            scope,
            batch: None,
            time: None,
            metrics,
        };
        found.push(of(step("validated step"), Split::Valid, Scope::Validation, valid));
        found.push(of(step("step"), Split::Train, Scope::Epoch, train));
    }
    found.retain(|values: &Values| !values.metrics.is_empty());
    Ok(found)
}
