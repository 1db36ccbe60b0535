//! What a report shows of one run, read from the run's directory.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::disk::directories::is_there;
use crate::disk::run_lock::newest_start;
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result, chain::chain, kind::ErrorKind};
use crate::file_names::METADATA_SUFFIX;
use crate::format::metadata::Metadata;
use crate::format::metadata::listed::MetadataParts;
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::load::checkpoint::Checkpoint;
use crate::metrics_log::{self, METRICS_FILE, is_metrics_log};
use crate::report::checkpoint_data::{CheckpointData, checkpoints};
use crate::report::commands::{Offered, offered};
use crate::report::curves::Curves;
use crate::report::start_data::StartData;
use crate::run_dir::catalog::{Catalog, CatalogEntry};
use crate::run_dir::layout::{CHECKPOINT_DIR, RunLayout};
use crate::run_dir::locate::run_at;
use crate::run_dir::other_runs::scan_with;
use crate::run_dir::outside_directories::outside_directories;
use crate::run_dir::tags::LaterTags;
use crate::run_dir::training_progress::{epochs_done, is_at_epoch_end};
use crate::start_changes::OtherOrigin;
use crate::strategy_names::{primary_metric, with_named_strategies};

/// Where the environment in the metadata has what a run computed on.
const DEVICES: &str = "/hardware/devices_used";
/// Packages of a program whose versions a reader of a report asks for.
const SHOWN_PACKAGES: &str = "burn";
/// How often a run is listed again that deletes its newest checkpoint meanwhile.
const LISTED_AGAIN: usize = 10;

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
    /// In the newest checkpoint, as the steps and the time are; of a run without one, in the log.
    epochs: u64,
    max_epochs: Option<u64>,
    /// Whether the newest checkpoint is at the end of an epoch.
    is_at_epoch_end: bool,
    global_step: u64,
    training_time_seconds: f64,
    /// What was logged after the newest checkpoint.
    not_saved: Option<NotSaved>,
    primary_metric: Option<String>,
    best: Option<CheckpointData>,
    /// In what the best checkpoint differs from the newest one, in words.
    best_differs: Option<String>,
    speed: Value,
    model: Value,
    device: Option<String>,
    hparams: Value,
    trainer_config: Value,
    environment: Value,
    starts: Vec<StartData>,
    checkpoints: Vec<CheckpointData>,
    commands: Vec<(&'static str, String)>,
    how_to_resume: Option<String>,
    warnings: Vec<String>,
    /// Those of the warnings that say what cannot be read.
    #[serde(skip)]
    pub(super) problems: Vec<String>,
    #[serde(skip)]
    pub(super) curves: Curves,
}

/// What a run logged after its newest checkpoint: a run that resumes does it again.
#[derive(Debug, Serialize)]
struct NotSaved {
    epochs: u64,
    steps: u64,
    seconds: f64,
}

/// The status of a run in a word, and why it has this status. Both are empty if that is not known.
#[derive(Debug, Default, Serialize)]
pub(super) struct Status {
    pub(super) word: String,
    pub(super) why: String,
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
        let catalog = checkpoints_of(&layout)?;
        let Broken { without_metadata, mut problems } = Broken::of(&catalog);
        let newest = catalog.entries.last().map(|entry| &entry.metadata);
        let starts: Vec<Timestamp> =
            newest.iter().flat_map(|newest| &newest.starts).map(|start| start.timestamp).collect();
        let state = trainer_state(catalog.entries.last());
        let logged = logged(&layout, &starts, &state, &mut problems)?;
        let mut warnings = without_metadata;
        warnings.extend(logged.is_none().then(no_log));
        let curves = logged.unwrap_or_default();
        if newest.is_none() && curves.of.is_empty() {
            return Err(nothing_to_report(&layout, &problems));
        }
        let begun = curves.first;
        let without = || Metadata::new(begun.unwrap_or_else(Timestamp::now)).with_run_id(layout.run_id());
        let progress = Progress::of(catalog.entries.last().map(|newest| &newest.metadata), &state, &curves);
        if newest.is_none() {
            warnings.push("The run has no checkpoint, which would say how it was started.".to_owned());
        }
        let newest = newest.cloned().unwrap_or_else(without);
        warnings.extend(newest.found_non_finite().map(not_finite));
        let later = LaterTags::read(layout.run_dir()).unwrap_or_else(|error| {
            problems.push(chain(&error));
            LaterTags::default()
        });
        let primary = primary_metric(&newest.trainer_config).map(str::to_owned);
        let checkpoints = checkpoints(&layout, &catalog.entries, primary.as_deref())?;
        let best = checkpoints.iter().find(|checkpoint| checkpoint.is_best).cloned();
        let best_differs = best.as_ref().and_then(|best| differs(best, &catalog.entries, &newest));
        let Offered { commands, how_to_resume } = offered(&layout, &catalog.entries, primary.as_deref());
        warnings.splice(0..0, problems.iter().cloned());
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
            epochs: progress.epochs,
            is_at_epoch_end: is_at_epoch_end(&state),
            global_step: progress.steps,
            training_time_seconds: progress.seconds,
            not_saved: progress.not_saved,
            device: device(&newest.environment),
            commands,
            how_to_resume,
            environment: with_few_packages(&newest.environment),
            starts: StartData::all(newest.starts),
            id: newest.run_id,
            name: newest.name,
            project: newest.project,
            speed: newest.speed,
            model: newest.model,
            hparams: newest.hparams,
            trainer_config: with_named_strategies(&newest.trainer_config),
            primary_metric: primary,
            best,
            best_differs,
            checkpoints,
            warnings,
            problems,
            curves,
        })
    }
}

/// The run's checkpoints. Of the newest one all of its metadata is read, of the others what is listed.
fn checkpoints_of(layout: &RunLayout) -> Result<Catalog> {
    let outside = outside_directories(layout)?;
    let list = || scan_with(layout, &outside, MetadataParts::Listed, |_| (), |_, _| ());
    let (mut catalog, mut again) = (list()?, 0);
    while let Some(newest) = catalog.entries.last_mut() {
        match Metadata::of_checkpoint(&newest.path) {
            Ok(metadata) => {
                newest.metadata = metadata;
                break;
            }
            // The run has deleted it since, and has a newer one.
            Err(error) if error.kind() == ErrorKind::NotFound && again < LISTED_AGAIN => {
                again += 1;
                catalog = list()?;
            }
            Err(error) => {
                let path = newest.path.clone();
                catalog.entries.pop();
                catalog.broken.push((path, error));
            }
        }
    }
    Ok(catalog)
}

/// The files with a checkpoint's name that are not whole, each as a line.
struct Broken {
    /// Those that lack their metadata alone, and are not known to be damaged.
    without_metadata: Vec<String>,
    problems: Vec<String>,
}

impl Broken {
    fn of(catalog: &Catalog) -> Self {
        let mut broken = Self { without_metadata: Vec::new(), problems: Vec::new() };
        for (path, error) in &catalog.broken {
            // The run may be training: what it deletes meanwhile is not damaged.
            if !is_there(path).unwrap_or(true) {
                continue;
            }
            let lines = match lacks_metadata(error) {
                true => &mut broken.without_metadata,
                false => &mut broken.problems,
            };
            lines.push(format!("{}: {}", path.display(), chain(error)));
        }
        broken
    }
}

fn lacks_metadata(error: &Error) -> bool {
    let is_metadata = |path: &Path| path.to_string_lossy().ends_with(METADATA_SUFFIX);
    matches!(error, Error::Io { path, .. } if error.kind() == ErrorKind::NotFound && is_metadata(path))
}

/// How far a run is.
struct Progress {
    epochs: u64,
    steps: u64,
    seconds: f64,
    not_saved: Option<NotSaved>,
}

impl Progress {
    /// That of the newest checkpoint, as `burn-ckpt runs` counts it, and what was logged after it; or of the
    /// log, where there is no checkpoint.
    fn of(newest: Option<&Metadata>, state: &Value, curves: &Curves) -> Self {
        let (logged_steps, logged_seconds) = curves.clock_end();
        let Some(metadata) = newest else {
            return Self {
                epochs: curves.epochs,
                steps: logged_steps,
                seconds: logged_seconds,
                not_saved: None,
            };
        };
        let (epochs, steps, seconds) =
            (epochs_done(metadata, state), metadata.global_step, metadata.training_time_seconds);
        // A batch whose step was left out has the number of the step that comes after it.
        let not_saved = (curves.has_later && logged_steps > steps).then(|| NotSaved {
            epochs: curves.epochs.saturating_sub(epochs),
            steps: logged_steps - steps,
            seconds: (logged_seconds - seconds).max(0.0),
        });
        Self { epochs, steps, seconds, not_saved }
    }
}

/// The trainer's state in a checkpoint, as far as it can be read.
fn trainer_state(newest: Option<&CatalogEntry>) -> Value {
    let open = |newest: &CatalogEntry| Checkpoint::open(&newest.path)?.trainer_state();
    newest.and_then(|newest| open(newest).ok()).unwrap_or(Value::Null)
}

fn nothing_to_report(layout: &RunLayout, problems: &[String]) -> Error {
    Error::NothingToReport { path: layout.run_dir().to_path_buf(), reason: why_nothing(problems) }
}

/// Why there is nothing to report.
fn why_nothing(problems: &[String]) -> String {
    match problems.is_empty() {
        true => "the run has neither a checkpoint nor a logged metric yet".to_owned(),
        false => format!("nothing of the run can be read: {}", problems.join("; ")),
    }
}

/// In what the best checkpoint differs from the newest one.
fn differs(best: &CheckpointData, entries: &[CatalogEntry], newest: &Metadata) -> Option<String> {
    let entry = entries.iter().find(|entry| best.is_of(entry))?;
    OtherOrigin::of(&entry.metadata, newest).in_words()
}

/// The warning of a run that has diverged.
fn not_finite(found: &NonFiniteTensors) -> String {
    format!(
        "Its newest state is not finite: it has {found}. It is never the best, and auto does not resume from it. Check the \
         learning rate and the data."
    )
}

fn no_log() -> String {
    format!("There are no curves: the run has no {METRICS_FILE}.")
}

/// What the run has logged. `None` for a run of an earlier version, which has no log.
///
/// `state` is the trainer's in the newest checkpoint, which has how much of the log it counts.
fn logged(
    layout: &RunLayout,
    starts: &[Timestamp],
    state: &Value,
    problems: &mut Vec<String>,
) -> Result<Option<Curves>> {
    if !is_there(&layout.run_dir().join(METRICS_FILE))? {
        return Ok(None);
    }
    let lines = match metrics_log::read(layout.run_dir()) {
        Ok(lines) => lines,
        Err(error) => {
            problems.push(format!("There are no curves: {}", chain(&error)));
            return Ok(Some(Curves::default()));
        }
    };
    // Of a start that has saved nothing yet no checkpoint knows.
    let starts: Vec<Timestamp> = starts.iter().copied().chain(newest_start(layout.run_dir())).collect();
    let counted = state.pointer("/metrics_log/bytes").and_then(Value::as_u64).unwrap_or(0);
    let (curves, problem) = Curves::of(lines, &starts, counted);
    problems.extend(problem.map(|error| chain(&error)));
    Ok(Some(curves))
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

/// What a run computed on. `None` if the environment does not say it.
fn device(environment: &Value) -> Option<String> {
    Some(texts(environment, DEVICES).join(", ")).filter(|devices| !devices.is_empty())
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
