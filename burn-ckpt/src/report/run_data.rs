//! What a report shows of one run, read from the run's directory.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::disk::directories::is_there;
use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result, chain::chain};
use crate::format::metadata::Metadata;
use crate::format::run_start::RunStart;
use crate::load::checkpoint::Checkpoint;
use crate::metrics_log::{self, METRICS_FILE, is_metrics_log};
use crate::report::curves::Curves;
use crate::run_dir::catalog::{Catalog, CatalogEntry};
use crate::run_dir::layout::{BEST_DIR, CHECKPOINT_DIR, LAST_DIR, RunLayout};
use crate::run_dir::locate::{resolve, run_at};
use crate::run_dir::tags::LaterTags;
use crate::run_dir::training_progress::epochs_done;
use crate::strategy_names::{primary_metric, with_named_strategies};

/// Where the environment in the metadata has what a run computed on, and its program.
const DEVICES: &str = "/hardware/devices_used";
const PROGRAM: &str = "/rust/program";
/// Packages of a program whose versions a reader of a report asks for.
const SHOWN_PACKAGES: &str = "burn";

/// A run as its page shows it. `assets/sections.js` reads these names.
#[derive(Debug, Serialize)]
pub(super) struct RunData {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) status: Status,
    pub(super) name: Option<String>,
    project: Option<String>,
    tags: Vec<String>,
    notes: Option<String>,
    started: Timestamp,
    epochs: u64,
    max_epochs: Option<u64>,
    global_step: u64,
    training_time_seconds: f64,
    primary_metric: Option<String>,
    best: Option<CheckpointData>,
    speed: Value,
    model: Value,
    device: Option<String>,
    hparams: Value,
    trainer_config: Value,
    environment: Value,
    starts: Vec<RunStart>,
    checkpoints: Vec<CheckpointData>,
    commands: Vec<(&'static str, String)>,
    warnings: Vec<String>,
    #[serde(skip)]
    pub(super) curves: Curves,
}

/// The status of a run in a word, and why it has this status. Both are empty if that is not known.
#[derive(Debug, Default, Serialize)]
pub(super) struct Status {
    pub(super) word: String,
    pub(super) why: String,
}

/// A checkpoint of a run.
#[derive(Debug, Clone, Serialize)]
struct CheckpointData {
    /// Relative to the directory of checkpoints where it is there.
    path: String,
    global_step: u64,
    epoch: u64,
    /// The primary metric's value.
    score: Option<f64>,
    bytes: u64,
    saved: Timestamp,
    reason: String,
    is_best: bool,
    is_last: bool,
}

impl RunData {
    /// Reads what a run's directory has. What cannot be read of it is among the warnings.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToReport`] for a directory that is not a run's, or has neither a checkpoint nor a
    /// logged metric; [`Error::Io`] when it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let layout = layout_of(path)?;
        let catalog = Catalog::scan(&layout)?;
        let unreadable = |(path, error): &(PathBuf, Error)| format!("{}: {}", path.display(), chain(error));
        // The run may be training: what it deletes meanwhile is not damaged.
        let is_left = |(path, _): &&(PathBuf, Error)| is_there(path).unwrap_or(true);
        let mut warnings: Vec<String> = catalog.broken.iter().filter(is_left).map(unreadable).collect();
        let newest = catalog.entries.last().map(|entry| &entry.metadata);
        let starts: Vec<Timestamp> =
            newest.iter().flat_map(|newest| &newest.starts).map(|start| start.timestamp).collect();
        let curves = logged(&layout, &starts, &mut warnings)?;
        if newest.is_none() && curves.of.is_empty() {
            return Err(Error::NothingToReport {
                path: layout.run_dir().to_path_buf(),
                reason: why_nothing(warnings),
            });
        }
        let without = || Metadata::new(Timestamp::now()).with_run_id(layout.run_id());
        if newest.is_none() {
            warnings.push("The run has no checkpoint yet, which would say how it was started.".to_owned());
        }
        let newest = newest.cloned().unwrap_or_else(without);
        let later = LaterTags::read(layout.run_dir()).unwrap_or_else(|error| {
            warnings.push(chain(&error));
            LaterTags::default()
        });
        let primary = primary_metric(&newest.trainer_config).map(str::to_owned);
        let checkpoints = checkpoints(&layout, &catalog.entries, primary.as_deref())?;
        let best = checkpoints.iter().find(|checkpoint| checkpoint.is_best).cloned();
        let devices = texts(&newest.environment, DEVICES).join(", ");
        // Of what was logged after the newest checkpoint, or of a run without one.
        let (global_step, seconds) = curves.clock_end();
        let training_time_seconds = match global_step > newest.global_step {
            true => newest.training_time_seconds.max(seconds),
            false => newest.training_time_seconds,
        };
        Ok(Self {
            path: layout.run_dir().display().to_string(),
            status: Status::default(),
            notes: later.notes.clone().or_else(|| text(&newest.trainer_config, "/notes")),
            tags: later
                .all(texts(&newest.trainer_config, "/tags").iter().map(String::as_str))
                .iter()
                .map(|tag| (*tag).to_owned())
                .collect(),
            started: starts.first().copied().unwrap_or(newest.start_timestamp),
            max_epochs: newest.trainer_config.pointer("/max_epochs").and_then(Value::as_u64),
            epochs: curves.epochs.max(epochs_of(catalog.entries.last())),
            global_step: global_step.max(newest.global_step),
            training_time_seconds,
            device: (!devices.is_empty()).then_some(devices),
            commands: commands(&layout, &newest, best.is_some()),
            environment: with_few_packages(&newest.environment),
            starts: newest.starts.into_iter().map(without_settings).collect(),
            id: newest.run_id,
            name: newest.name,
            project: newest.project,
            speed: newest.speed,
            model: newest.model,
            hparams: newest.hparams,
            trainer_config: with_named_strategies(&newest.trainer_config),
            primary_metric: primary,
            best,
            checkpoints,
            warnings,
            curves,
        })
    }
}

/// The epochs that are done in a checkpoint, as far as it can be read.
fn epochs_of(newest: Option<&CatalogEntry>) -> u64 {
    let Some(CatalogEntry { path, metadata }) = newest else { return 0 };
    let state = Checkpoint::open(path).and_then(|checkpoint| checkpoint.trainer_state());
    epochs_done(metadata, &state.unwrap_or(Value::Null))
}

/// Why there is nothing to report.
fn why_nothing(mut warnings: Vec<String>) -> String {
    // A run without a log yet has nothing that cannot be read.
    warnings.retain(|warning| *warning != no_log());
    match warnings.is_empty() {
        true => "the run has neither a checkpoint nor a logged metric yet".to_owned(),
        false => format!("nothing of the run can be read: {}", warnings.join("; ")),
    }
}

fn no_log() -> String {
    format!("There are no curves: the run has no {METRICS_FILE}.")
}

/// What the run has logged. A run of an earlier version has no log.
fn logged(layout: &RunLayout, starts: &[Timestamp], warnings: &mut Vec<String>) -> Result<Curves> {
    if !is_there(&layout.run_dir().join(METRICS_FILE))? {
        warnings.push(no_log());
        return Ok(Curves::default());
    }
    let lines = match metrics_log::read(layout.run_dir()) {
        Ok(lines) => lines,
        Err(error) => {
            warnings.push(format!("There are no curves: {}", chain(&error)));
            return Ok(Curves::default());
        }
    };
    let (curves, problem) = Curves::of(lines, starts);
    warnings.extend(problem.map(|error| chain(&error)));
    Ok(curves)
}

/// The run in a directory, which may also be its directory of checkpoints, or a link to one of the two.
fn layout_of(path: &Path) -> Result<RunLayout> {
    if let Some(run) = run_at(path)? {
        return Ok(run);
    }
    // A run that saves elsewhere, or whose checkpoints were removed.
    let log = path.join(METRICS_FILE);
    let is_log = || is_metrics_log(&StoredFile::open(&log)?);
    if is_there(&log)? && is_log().map_err(Error::io("read", &log))? {
        return Ok(RunLayout::at(path));
    }
    Err(Error::NothingToReport {
        path: path.to_path_buf(),
        reason: format!(
            "it is not a run's directory, which has a directory `{CHECKPOINT_DIR}` or the log `{METRICS_FILE}`"
        ),
    })
}

fn checkpoints(
    layout: &RunLayout,
    entries: &[CatalogEntry],
    metric: Option<&str>,
) -> Result<Vec<CheckpointData>> {
    let directory = layout.checkpoint_dir();
    let linked = |name: &str, metric| match resolve(layout, name, metric) {
        Ok(path) => real_path_if_there(&path),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let (best, last) = (linked(BEST_DIR, metric)?, linked(LAST_DIR, None)?);
    let data = |CatalogEntry { path, metadata }: &CatalogEntry| {
        // The run may have deleted it since it was listed.
        let Some(real) = real_path_if_there(path)?.map(Some) else { return Ok(None) };
        Ok(Some(CheckpointData {
            path: path.strip_prefix(&directory).unwrap_or(path).display().to_string(),
            global_step: metadata.global_step,
            epoch: metadata.epoch,
            score: metric
                .and_then(|metric| metadata.metrics.get(metric))
                .copied()
                .filter(|score| score.is_finite()),
            bytes: metadata.total_bytes(),
            saved: metadata.checkpoint_timestamp,
            reason: metadata.reason.clone(),
            is_best: real == best,
            is_last: real == last,
        }))
    };
    entries.iter().filter_map(|entry| data(entry).transpose()).collect()
}

/// The path of a checkpoint without links. `None` if it is not there.
fn real_path_if_there(path: &Path) -> Result<Option<PathBuf>> {
    storage::canonicalize(path).map_err(Error::io("resolve", path))
}

/// What a reader of the page types to work with the run.
fn commands(layout: &RunLayout, newest: &Metadata, has_best: bool) -> Vec<(&'static str, String)> {
    let best = layout.run_dir().join(if has_best { BEST_DIR } else { LAST_DIR }).display().to_string();
    let (checkpoint, run_id) = (shell_word(&best), shell_word(&newest.run_id));
    let program = text(&newest.environment, PROGRAM);
    let program = program.as_deref().and_then(|program| program.split(' ').next()).unwrap_or("PROGRAM");
    let program = shell_word(program);
    let model = text(&newest.model, "/type").unwrap_or_else(|| "Model".to_owned());
    vec![
        (
            "Resume, with the arguments of the first start",
            format!("{program} .. --run-id {run_id} --ckpt-path auto"),
        ),
        ("Load in Rust", format!("let model = {model}::from_checkpoint({best:?}, &device)?;")),
        ("Verify", format!("burn-ckpt verify {checkpoint}")),
        ("Export to safetensors", format!("burn-ckpt export {checkpoint} model.safetensors")),
    ]
}

/// Text as one word of a shell: what is in a run's files is never a command.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./=:@%+-,".contains(letter);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A start without its configuration, which the page shows as that of the newest checkpoint.
fn without_settings(start: RunStart) -> RunStart {
    RunStart { trainer_config: None, hparams: None, ..start }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The environment with the versions of burn's packages alone: a program has hundreds.
fn with_few_packages(environment: &Value) -> Value {
    let mut environment = environment.clone();
    if let Some(packages) = environment.get_mut("packages") {
        let found = packages.as_array().map(Vec::as_slice).unwrap_or_default();
        let count = found.len();
        let of_burn = found.iter().filter_map(|package| {
            let name = text(package, "/name").filter(|name| name.starts_with(SHOWN_PACKAGES))?;
            Some((name, text(package, "/version")?.into()))
        });
        let mut shown: serde_json::Map<String, Value> = of_burn.collect();
        shown.insert("in all".to_owned(), count.into());
        *packages = shown.into();
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_run_is_one_word_of_a_shell() {
        for (text, word) in [
            ("runs/a-1/best", "runs/a-1/best"),
            ("a b; touch c", "'a b; touch c'"),
            ("it's", "'it'\\''s'"),
            ("-rf", "'-rf'"),
            ("$(id)", "'$(id)'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
