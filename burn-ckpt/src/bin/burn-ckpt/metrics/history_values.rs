//! The values of the epochs in the history of a run's newest checkpoint: all that a run without a log of
//! metrics has, as one of an earlier version or one whose log was removed.

use burn_ckpt::metrics_log::csv::RowPlace;
use burn_ckpt::metrics_log::{METRICS_FILE, Scope, Split};
use burn_ckpt::plumbing::epoch_blocks::{
    EPOCHS, HISTORY_JSON, LATEST_EPOCHS, MAX_HISTORY_BYTES, MAX_HISTORY_VALUES, STEP, VALIDATED_STEP,
};
use burn_ckpt::plumbing::{is_directory, numbers, parse_json};
use burn_ckpt::{Checkpoint, RunLayout, Section};
use indexmap::IndexMap;
use serde_json::Value;

use crate::ls::listing::Listing;
use crate::metrics::epoch_blocks;
use crate::metrics::values::Values;
use crate::verb_result::Failure;

/// The key of the number of epochs that are left to the log.
const LEFT_TO_LOG: &str = "left_to_log";
/// How the names of the metrics of the validation begin.
const OF_VALIDATION: &str = "val_";

/// The values of the epochs that are done: for each those of the training, and those of the validation.
/// What is missing of them is told to `say`. `None` without a checkpoint that has a history.
pub fn epochs(layout: &RunLayout, say: impl Fn(String)) -> Result<Option<Vec<Values>>, Failure> {
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
            "note: {run} has no {METRICS_FILE}: these are the epochs in {}",
            checkpoint.path().display()
        ));
        return read(&checkpoint, say).map(Some);
    }
    Ok(None)
}

fn read(checkpoint: &Checkpoint, say: impl Fn(String)) -> Result<Vec<Values>, Failure> {
    let invalid = |reason: &str| {
        Failure::Other(format!("the history in {} cannot be read: {reason}", checkpoint.path().display()))
    };
    let section = checkpoint.verified_section(Section::HISTORY)?;
    let bytes_of = |name: &str| {
        let Some(tensor) = section.tensors.iter().find(|tensor| &*tensor.name == name) else {
            return Ok(None);
        };
        let length = tensor.byte_len();
        if length > MAX_HISTORY_BYTES {
            return Err(invalid(&format!("it has {length} bytes, and {MAX_HISTORY_BYTES} at most are read")));
        }
        tensor.to_bytes().map(Some).map_err(|error| invalid(&error.to_string()))
    };
    let json = bytes_of(HISTORY_JSON)?.ok_or_else(|| invalid(&format!("it has no {HISTORY_JSON}")))?;
    let history: Value =
        parse_json(&json, MAX_HISTORY_VALUES).map_err(|error| invalid(&error.to_string()))?;
    let first = history[LEFT_TO_LOG].as_u64().unwrap_or_default();
    if first > 0 {
        say(format!("note: the first {first} epochs are not in it: they were in {METRICS_FILE} alone"));
    }
    let bytes = bytes_of(EPOCHS)?.map_or_else(|| bytes_of(LATEST_EPOCHS), |bytes| Ok(Some(bytes)))?;
    let epochs = match bytes {
        Some(bytes) => epoch_blocks::read(&history["epoch_metrics"], &bytes, MAX_HISTORY_VALUES),
        None => of_json(&history),
    };
    Ok(values(first, epochs.map_err(|reason| invalid(&reason))?))
}

/// The epochs of an earlier version, and none before the first one is done.
fn of_json(history: &Value) -> Result<Vec<IndexMap<String, f64>>, String> {
    let epochs = match (history.get("epochs"), history.get("epoch_metrics")) {
        (Some(epochs), _) => epochs.as_array(),
        (None, Some(_)) => return Ok(Vec::new()),
        (None, None) => None,
    };
    let epochs = epochs.ok_or("it does not list epochs: another version wrote it")?;
    let read = |epoch: &Value| numbers::deserialize(epoch.clone()).map_err(|error| error.to_string());
    epochs.iter().map(read).collect()
}

/// The values of epochs, the first of which has this number.
fn values(first: u64, epochs: Vec<IndexMap<String, f64>>) -> Vec<Values> {
    let mut found = Vec::new();
    for (place, mut metrics) in (0..).zip(epochs) {
        let epoch = first.saturating_add(place);
        let [step_at_end, step_of_validation] =
            [STEP, VALIDATED_STEP].map(|key| metrics.shift_remove(key).map(|step| step as u64));
        let (valid, train): (IndexMap<_, _>, IndexMap<_, _>) =
            metrics.into_iter().partition(|(name, _)| name.starts_with(OF_VALIDATION));
        let of = |step, split, scope, metrics| Values {
            place: RowPlace { step, epoch, split, scope, batch: None, time: None },
            metrics,
            speed: None,
        };
        found.push(of(step_of_validation, Split::Valid, Scope::Validation, valid));
        found.push(of(step_at_end, Split::Train, Scope::Epoch, train));
    }
    found.retain(|values: &Values| !values.metrics.is_empty());
    found
}
