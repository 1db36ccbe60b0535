//! Whether two runs are the same to the byte: checkpoints, best list, links, metric history, and nothing
//! besides.
//!
//! Only when they ran may differ, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use burn_ckpt::metadata::TensorInfo;
use burn_ckpt::metrics_log::{self, Line, METRICS_FILE};
use burn_ckpt::plumbing::{CHECKPOINT_DIR, METADATA_SUFFIX, ON_EXCEPTION_DIR};
use burn_ckpt::{Checkpoint, Metadata};
use serde_json::Value;

use super::tree::{directories, files};
use crate::programs::commands::sha256sum;

/// What is named of the differences; the rest mostly follows from these.
const SHOWN: usize = 12;
/// The directories of burn's metric files.
const HISTORY: [&str; 2] = ["train/", "valid/"];
/// Stands in a link's name before its target, which is a file of its own.
const LINK: &str = " -> ";
/// Stands in a shard's name after that of its checkpoint, by which it is verified.
const SHARDS: &str = ".shards/";
/// How burn marks the one line of a metric file that stands for the epoch and for no batch.
const OVER_THE_EPOCH: &str = ",final";
/// The ends of names that stood for other states, or for damaged files, already.
const NUMBERS: [&str; 3] = ["-v1", "-v2", "-v3"];
/// What a training state says of the clock.
const CLOCK: &str = "training_time_seconds";
/// What it says of the log of metrics, whose lines have the times at which they were written. The log itself
/// is compared.
const LOG: &str = "metrics_log";

/// What was found to be the same in two runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Same {
    /// Optimizer steps done.
    pub steps: u64,
    /// Tensors of the last checkpoint.
    pub tensors: usize,
    /// Best checkpoints.
    pub best: usize,
    /// burn's metric files.
    pub metric_files: usize,
}

/// Compares the directories of two runs.
///
/// # Errors
///
/// With the differences, the first of each file, a line each.
///
/// # Panics
///
/// When one of the directories cannot be read.
pub fn compare(expected: &Path, found: &Path) -> Result<Same, String> {
    compare_with(expected, found, |_| true, |_| false)
}

/// The same for a run whose directory was lost: burn's metric files of these epochs (burn's numbers) may be
/// missing. They are in no mirror.
///
/// # Errors
///
/// As for [`compare`].
///
/// # Panics
///
/// As for [`compare`].
pub fn compare_after_loss(expected: &Path, found: &Path, lost: RangeInclusive<u64>) -> Result<Same, String> {
    let is_lost = |name: &str| epoch_of_file(name).is_some_and(|epoch| lost.contains(&epoch));
    compare_with(expected, found, |_| true, is_lost)
}

/// The epoch of one of burn's metric files.
fn epoch_of_file(name: &str) -> Option<u64> {
    let below = HISTORY.iter().find_map(|directory| name.strip_prefix(directory))?;
    let (directory, file) = below.split_once('/')?;
    directory.strip_prefix("epoch-")?.parse().ok().filter(|_| file.ends_with(".log"))
}

/// The same, but for what a training state says of the strategies that it was saved for: a run that could not
/// read a checkpoint for a moment trains to its state again, and saves it for those strategies that do not
/// have it.
///
/// # Errors
///
/// As for [`compare`].
///
/// # Panics
///
/// As for [`compare`].
pub fn compare_states(expected: &Path, found: &Path) -> Result<Same, String> {
    const OF_STRATEGIES: [&str; 4] = ["saved_for", "scores", "reasons", "modes"];
    compare_with(expected, found, |field| !OF_STRATEGIES.contains(&field), |_| false)
}

fn compare_with(
    expected: &Path,
    found: &Path,
    counts: fn(&str) -> bool,
    may_be_missing: impl Fn(&str) -> bool,
) -> Result<Same, String> {
    let mut differences = Vec::new();
    let mut same = Same::default();
    let names = &[names(expected), names(found)];
    let not_in_other = |one: usize| names[one].keys().filter(move |name| !names[1 - one].contains_key(*name));
    let missing = not_in_other(0).filter(|name| !may_be_missing(name));
    differences.extend(missing.map(|name| format!("{name} is missing")));
    differences.extend(not_in_other(1).map(|name| format!("{name} should not be there")));
    for (name, found_name) in &names[1] {
        let Some(expected_name) = names[0].get(name) else { continue };
        let [expected, found] = [expected.join(expected_name), found.join(found_name)];
        if HISTORY.iter().any(|directory| name.starts_with(directory)) {
            same.metric_files += 1;
            differences.extend(in_lines(name, &expected, &found).err());
        } else if name == METRICS_FILE {
            differences.extend(in_logs(&expected, &found).err());
        } else if name.ends_with(".ckpt") && !name.contains(LINK) && !name.contains(SHARDS) {
            match in_checkpoints(&expected, &found, counts) {
                Ok(metadata) if name.contains("/last/") => {
                    (same.steps, same.tensors) = (metadata.global_step, metadata.tensors.len());
                }
                Ok(_) => same.best += 1,
                Err(reasons) => {
                    differences.extend(reasons.into_iter().map(|reason| format!("{name}: {reason}")));
                }
            }
        }
    }
    if differences.is_empty() && (same.steps == 0 || same.metric_files == 0) {
        differences.push(format!("there is nothing to compare: {same:?}"));
    }
    if differences.is_empty() { Ok(same) } else { Err(shortened(differences)) }
}

/// Everything in a run's directory but what failures leave; of a link with its target. By what the name would
/// be had the run not been stopped in a validation: the state after it has the name of the one before, with
/// `-v1`.
fn names(run_dir: &Path) -> BTreeMap<String, String> {
    let failures = format!("{CHECKPOINT_DIR}/{ON_EXCEPTION_DIR}/");
    let names = files(run_dir).into_iter().filter(|name| !name.starts_with(&failures));
    names.map(|name| (without_number(&name), name)).collect()
}

fn without_number(name: &str) -> String {
    NUMBERS.iter().fold(name.to_owned(), |name, number| name.replace(number, ""))
}

fn in_lines(name: &str, expected: &Path, found: &Path) -> Result<(), String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let shown = |line: &[u8]| format!("{:?}", String::from_utf8_lossy(line));
    let lines =
        |bytes: &[u8]| -> Vec<String> { bytes.split_inclusive(|byte| *byte == b'\n').map(shown).collect() };
    same_lines(name, &lines(&read(expected)?), &lines(&read(found)?))
}

/// Compares two logs of metrics, without the times of their lines, and how fast the run was.
fn in_logs(expected: &Path, found: &Path) -> Result<(), String> {
    let lines = |path: &Path| -> Result<Vec<String>, String> {
        let lines = metrics_log::read(path).map_err(|error| error.to_string())?;
        let without_time = lines.map(|line| line.map(|line| without_clock(line).to_string()));
        without_time.collect::<Result<_, _>>().map_err(|error| error.to_string())
    };
    same_lines(METRICS_FILE, &lines(expected)?, &lines(found)?)
}

/// A line of a log without what depends on the clock.
#[must_use]
pub fn without_clock(mut line: Line) -> Line {
    (line.time, line.speed) = (None, None);
    line
}

fn same_lines(name: &str, expected: &[String], found: &[String]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let first = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let line = |lines: &[String]| lines.get(first).cloned().unwrap_or_else(|| "nothing".to_owned());
    Err(format!(
        "{name}: line {} is {} and should be {}; it has {} lines and should have {}",
        first + 1,
        line(found),
        line(expected),
        found.len(),
        expected.len()
    ))
}

/// Compares two checkpoints, after making sure that each is what its metadata says.
fn in_checkpoints(expected: &Path, found: &Path, counts: fn(&str) -> bool) -> Result<Metadata, Vec<String>> {
    let read = |path: &Path| verified(path).map_err(|reason| vec![format!("{}: {reason}", path.display())]);
    let (expected, found) = (read(expected)?, read(found)?);
    let mut differences = Vec::new();
    let tensors = |metadata: &Metadata| -> Vec<(String, String)> {
        let tensors = metadata.tensors.iter();
        let described = |info: &TensorInfo| format!("{} {:?} blake3:{}", info.dtype, info.shape, info.blake3);
        tensors.map(|(name, info)| (name.clone(), described(info))).collect()
    };
    differences.extend(first_difference("tensor", &tensors(&expected.0), &tensors(&found.0)));
    let metrics = |metadata: &Metadata| -> Vec<(String, String)> {
        // Debug shows every bit of a number, and a NaN as itself.
        metadata.metrics.iter().map(|(name, value)| (name.clone(), format!("{value:?}"))).collect()
    };
    differences.extend(first_difference("metric", &metrics(&expected.0), &metrics(&found.0)));
    differences.extend(first_difference("metadata", &said(&expected.0), &said(&found.0)));
    differences.extend(match (contents(&expected.1, counts), contents(&found.1, counts)) {
        (Ok(expected), Ok(found)) => first_difference("content", &expected, &found),
        (Err(reason), _) | (_, Err(reason)) => Some(reason.to_string()),
    });
    if differences.is_empty() { Ok(expected.0) } else { Err(differences) }
}

/// A checkpoint that is what its metadata says: by its own means, and by `sha256sum`.
fn verified(path: &Path) -> Result<(Metadata, Checkpoint), String> {
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    let metadata = checkpoint.verify().map_err(|error| error.to_string())?;
    let is = format!("sha256:{}", sha256sum(path)?);
    if metadata.checkpoint_checksum != is {
        return Err(format!("its metadata says {} and it has {is}", metadata.checkpoint_checksum));
    }
    Ok((metadata, checkpoint))
}

/// What the metadata says of the state itself.
fn said(metadata: &Metadata) -> Vec<(String, String)> {
    let Metadata { checkpoint_path, epoch, global_step, hparams, reason, .. } = metadata;
    [
        ("checkpoint_path", without_number(checkpoint_path)),
        ("epoch", epoch.to_string()),
        ("global_step", global_step.to_string()),
        ("hparams", hparams.to_string()),
        ("reason", reason.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// What is in a checkpoint besides tensors: the fields of the training loop's state that count, and scalars
/// and strings of every section.
fn contents(checkpoint: &Checkpoint, counts: fn(&str) -> bool) -> burn_ckpt::Result<Vec<(String, String)>> {
    let mut contents = Vec::new();
    let mut state: Value = checkpoint.trainer_state()?;
    if let Some(fields) = state.as_object_mut() {
        fields.retain(|field, _| counts(field));
    }
    flatten("trainer_state", &state, &mut contents);
    contents.iter_mut().for_each(|(_, value)| *value = without_place(value, checkpoint.path()));
    for name in checkpoint.sections() {
        let section = checkpoint.section(name)?;
        contents.push((name.clone(), format!("{} tensors", section.tensors.len())));
        for (key, scalar) in &section.scalars {
            contents.push((format!("{name}.{key}"), format!("{scalar:?}")));
        }
        if name == burn_ckpt::Section::OPTIMIZER {
            // The paths of parameters, by ids that are random numbers.
            let paths: BTreeSet<&String> = section.strings.values().collect();
            contents.push((format!("{name}.*"), format!("{paths:?}")));
            continue;
        }
        for (key, text) in &section.strings {
            contents.push((format!("{name}.{key}"), format!("{text:?}")));
        }
    }
    Ok(contents)
}

/// A value without the place of the runs. A directory outside of the run is an absolute path, and two runs
/// that are compared stand side by side: what they are named there differs, and one of them may have been
/// renamed after it ran.
fn without_place(value: &str, checkpoint: &Path) -> String {
    let beside = checkpoint.ancestors().nth(6).map(|beside| format!("{}/", beside.display()));
    let Some((before, below)) = beside.as_ref().and_then(|beside| value.split_once(beside.as_str())) else {
        return value.to_owned();
    };
    let below = below.split_once('/').map_or(below, |(_, below)| below);
    format!("{before}{below}")
}

/// Sets what a training state says of the clock to 0: two runs differ in it.
pub fn clear_clock(state: &mut Value) {
    match state {
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| match name == CLOCK || name == LOG {
                true => *value = 0.into(),
                false => clear_clock(value),
            })
        }
        Value::Array(items) => items.iter_mut().for_each(clear_clock),
        _ => {}
    }
}

fn flatten(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let below = |name: &dyn std::fmt::Display| format!("{key}.{name}");
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(name, _)| *name != CLOCK && *name != LOG && !name.ends_with("_timestamp"));
            fields.for_each(|(name, value)| flatten(&below(name), value, into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, value)| flatten(&below(&number), value, into));
        }
        _ => into.push((key.to_owned(), without_number(&value.to_string()))),
    }
}

/// The first of a list of names and values that differs, order included.
fn first_difference(what: &str, expected: &[(String, String)], found: &[(String, String)]) -> Option<String> {
    let first = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let number = expected.iter().zip(found).filter(|(expected, found)| expected != found).count()
        + expected.len().abs_diff(found.len());
    let shown = |list: &[(String, String)]| {
        list.get(first).map_or("nothing".to_owned(), |(name, value)| format!("{name} = {value}"))
    };
    let reason = || {
        let (found, expected) = (shown(found), shown(expected));
        format!("{what} {found} should be {expected} (one of {number} that differ)")
    };
    (number > 0).then(reason)
}

fn shortened(mut differences: Vec<String>) -> String {
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    differences.join("\n")
}

/// After a run that ended by itself on SIGTERM: its last checkpoint is that of the last step in its metric
/// history. With accumulated gradients that is the last update.
///
/// # Errors
///
/// Saying which steps the two have.
pub fn stopped_exactly(run_dir: &Path, accumulation: u64) -> Result<(), String> {
    let Some((epoch, logged)) = last_batch_logged(run_dir) else { return Ok(()) };
    let last = run_dir.join(CHECKPOINT_DIR).join("last.ckpt");
    let state: Value = Checkpoint::open(&last)
        .and_then(|checkpoint| checkpoint.trainer_state())
        .map_err(|error| error.to_string())?;
    let number = |key: &str| state[key].as_u64().unwrap_or_default();
    let (saved_epoch, complete) = (number("epoch") + 1, state["epoch_complete"] == true);
    let saved = match epoch.checked_sub(saved_epoch) {
        Some(0) => Some(number("batches")),
        Some(1) if complete => Some(0),
        _ => None,
    };
    if saved.is_some_and(|saved| (saved..saved + accumulation.max(1)).contains(&logged)) {
        return Ok(());
    }
    Err(format!("{logged} batches of epoch {epoch} are logged, and last.ckpt has {state}"))
}

/// The newest epoch with metric files, counted from 1, and how many batches of it they have.
fn last_batch_logged(run_dir: &Path) -> Option<(u64, u64)> {
    let epochs = std::fs::read_dir(run_dir.join("train")).ok()?.filter_map(Result::ok);
    let numbered = epochs.filter_map(|entry| {
        let number: u64 = entry.file_name().to_str()?.strip_prefix("epoch-")?.parse().ok()?;
        Some((number, entry.path()))
    });
    let (number, directory) = numbered.max()?;
    let lines = std::fs::read_dir(directory).ok()?.filter_map(Result::ok).filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        Some(text.lines().filter(|line| !line.ends_with(OVER_THE_EPOCH)).count() as u64)
    });
    Some((number, lines.max()?))
}

/// Whether a name in a checkpoint directory is that of a file being written.
pub(crate) fn is_staging(name: &str) -> bool {
    name.contains(".staging")
}

/// Whether the directory of the run holds any unfinished file, or metadata or shards whose checkpoint is
/// missing.
#[must_use]
pub fn leftovers(run_dir: &Path) -> Vec<String> {
    let names = names(run_dir);
    let alone = |name: &str| {
        !name.contains(LINK)
            && name.strip_suffix(METADATA_SUFFIX).is_some_and(|checkpoint| !run_dir.join(checkpoint).exists())
    };
    let without_checkpoint = |name: &str| {
        name.strip_suffix(".shards").is_some_and(|stem| !run_dir.join(format!("{stem}.ckpt")).exists())
    };
    let directories =
        directories(run_dir).into_iter().filter(|name| is_staging(name) || without_checkpoint(name));
    names.into_values().filter(|name| is_staging(name) || alone(name)).chain(directories).collect()
}
