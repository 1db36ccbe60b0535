//! Going on where a run stopped: which checkpoint, is it whole, and its state put into the learner.

use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::train::checkpoint::Checkpoint as Record;
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::{Catalog, Checkpoint, HISTORY, Held, OPTIMIZER, RunLayout, SCHEDULER, Section, resolve};
use indexmap::IndexMap;
use jiff::Timestamp;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::metrics::History;
use crate::optimizer_names;
use crate::progress::say;
use crate::snapshot;
use crate::state::{STATE_VERSION, TrainerState};

/// A verified checkpoint to go on from.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) state: TrainerState,
    pub(crate) history: History,
    /// When the run that wrote it started.
    pub(crate) start: Timestamp,
}

/// Finds and verifies what `ckpt_path` names. `None` is a fresh start.
pub(crate) fn find(config: &TrainerConfig, layout: &RunLayout, present: &Catalog) -> Result<Option<Resume>> {
    match config.ckpt_path.as_deref() {
        None | Some("none") => Ok(None),
        Some("auto") => newest(layout, present),
        Some("last") => open(&resolve(layout, "last", None)?).map(Some),
        Some("best") => open(&best(config, layout)?).map(Some),
        Some(path) => open(Path::new(path)).map(Some),
    }
}

/// Says what has changed in a way that the user may not have meant.
pub(crate) fn warn_of_changes(config: &TrainerConfig, resume: &Resume) {
    let TrainerState { seed, position, .. } = resume.state;
    if seed != config.seed {
        let message = format!(
            "the run had the seed {seed} and goes on with {}: other random numbers from here on{}",
            config.seed,
            if position.next().batches > 0 {
                ", and in this epoch some items may come twice and others not"
            } else {
                ""
            }
        );
        log::warn!("{message}");
        say(&format!("warning: {message}"));
    }
}

/// Puts model, optimizer and scheduler of a checkpoint into a learner.
pub(crate) fn restore<M: LearnerModel>(learner: &mut Learner<M>, resume: &Resume) -> Result<()> {
    let checkpoint = &resume.checkpoint;
    // burn panics on a record that does not fit; ask first.
    checkpoint.check_fits(&learner.model())?;
    learner.load_model(checkpoint.model_record()?);
    let optimizer = optimizer_names::by_id(checkpoint.section(OPTIMIZER)?);
    learner.load_optim(record::<OptimizerRecord>(checkpoint, OPTIMIZER, optimizer)?);
    learner.load_scheduler(record::<LrSchedulerRecord>(
        checkpoint,
        SCHEDULER,
        checkpoint.section(SCHEDULER)?,
    )?);
    Ok(())
}

/// Checks that the learner has what it was given. burn leaves out what an optimizer does not know, and would go on
/// without it.
pub(crate) fn check_taken_over<M: LearnerModel>(
    learner: &Learner<M>,
    store: &EventStoreClient,
    resume: &Resume,
) -> Result<()> {
    let path = resume.checkpoint.path();
    let (optimizer, scheduler) = snapshot::optimizer_and_scheduler(learner, store)?;
    let missing = missing(&resume.checkpoint.section(OPTIMIZER)?, &optimizer);
    if !missing.is_empty() {
        let reason = format!(
            "the optimizer of this program does not know its {}: it was saved with another kind of optimizer, or \
             with other parameters",
            missing.join(", ")
        );
        return Err(burn_ckpt::Error::Mismatch { path: path.to_path_buf(), reason }.into());
    }
    let (saved, own) = (resume.checkpoint.section(SCHEDULER)?.scalars, scheduler.scalars);
    if !saved.keys().eq(own.keys()) {
        let message = format!(
            "{}: it was saved with another kind of learning-rate scheduler; this program's begins at its start",
            path.display()
        );
        log::warn!("{message}");
        say(&format!("warning: {message}"));
    }
    Ok(())
}

/// The names in a section that are not in another, or have another shape there.
fn missing(saved: &Section, own: &Section) -> Vec<String> {
    let has_tensor = |tensor: &burn_ckpt::burn_pack::Tensor| {
        own.tensors.iter().any(|other| (&other.name, &other.shape) == (&tensor.name, &tensor.shape))
    };
    let tensors = saved.tensors.iter().filter(|tensor| !has_tensor(tensor)).map(|tensor| tensor.name.clone());
    let scalars = saved.scalars.keys().filter(|name| !own.scalars.contains_key(*name)).cloned();
    tensors.chain(scalars).map(|name| format!("{OPTIMIZER}.{name}")).collect()
}

/// What each strategy holds on disk, oldest first: every checkpoint says which strategies it was saved for. A damaged one
/// counts for none: it must not be the best, nor take a whole one's place. So all of them are read.
pub(crate) fn held(layout: &RunLayout, present: &Catalog) -> IndexMap<String, Vec<Held>> {
    let mut held: IndexMap<String, Vec<Held>> = IndexMap::new();
    let directory = layout.checkpoint_dir();
    for entry in &present.entries {
        let checked = Checkpoint::open(&entry.path).and_then(|checkpoint| {
            checkpoint.verify_checksum()?;
            checkpoint.trainer_state::<TrainerState>()
        });
        let state = match checked {
            Ok(state) => state,
            Err(error) => {
                passed(&entry.path, &error);
                continue;
            }
        };
        for (strategy, path) in &state.saved_for {
            // A state saved for two strategies is two files with one content; each stands for its own strategy.
            let score = state.scores.get(strategy).copied().unwrap_or(f64::NAN);
            if directory.join(path) == entry.path {
                held.entry(strategy.clone()).or_default().push(Held { path: entry.path.clone(), score });
            }
        }
    }
    held
}

fn newest(layout: &RunLayout, present: &Catalog) -> Result<Option<Resume>> {
    let mut reasons = Vec::new();
    for (path, error) in &present.broken {
        reasons.push(passed(path, error));
    }
    for entry in present.entries.iter().rev() {
        match open(&entry.path) {
            Ok(resume) => return Ok(Some(resume)),
            // Weights alone are nothing to warn of.
            Err(Error::Checkpoint(error @ burn_ckpt::Error::MissingSection { .. })) => {
                reasons.push(error.to_string());
            }
            Err(error) => reasons.push(passed(&entry.path, &error)),
        }
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    // A fresh start would look as if all were well, and leave these behind.
    Err(Error::NothingToResume { path: layout.checkpoint_dir(), reasons })
}

/// Says that a checkpoint is passed over: on standard error too, since burn's log does not exist yet.
fn passed(path: &Path, error: &dyn std::error::Error) -> String {
    let (path, mut reason) = (path.display().to_string(), error.to_string());
    if !reason.contains(&path) {
        reason = format!("{path}: {reason}");
    }
    log::warn!("passed over {reason}");
    say(&format!("warning: passed over {reason}"));
    reason
}

fn best(config: &TrainerConfig, layout: &RunLayout) -> Result<PathBuf> {
    // The link of the primary metric where there is one, else the only link there is.
    let primary = config.primary_metric.as_deref().map(|metric| resolve(layout, "best", Some(metric)));
    match primary {
        Some(Ok(path)) => Ok(path),
        _ => Ok(resolve(layout, "best", None)?),
    }
}

fn open(path: &Path) -> Result<Resume> {
    let checkpoint = Checkpoint::open(path)?;
    let start = checkpoint.verify()?.start_timestamp;
    for section in [OPTIMIZER, SCHEDULER] {
        if !checkpoint.has_section(section) {
            checkpoint.section(section)?;
        }
    }
    let state: TrainerState = checkpoint.trainer_state()?;
    if state.version > STATE_VERSION {
        let reason =
            format!("its trainer state has version {}, this program reads {STATE_VERSION}", state.version);
        return Err(Error::config("ckpt_path", format!("{}: {reason}", path.display())));
    }
    let history = match checkpoint.has_section(HISTORY) {
        true => History::from_section(checkpoint.section(HISTORY)?).map_err(|reason| {
            let reason = format!("its {HISTORY} section cannot be read: {reason}");
            burn_ckpt::Error::Mismatch { path: path.to_path_buf(), reason }
        })?,
        false => History::default(),
    };
    Ok(Resume { checkpoint, state, history, start })
}

fn record<R: Record>(checkpoint: &Checkpoint, section: &str, part: Section) -> Result<R> {
    // burn expects every tensor of an optimizer's record to name its parameter, and panics otherwise.
    if let Some(tensor) = part.tensors.iter().find(|tensor| tensor.param_id.is_none()) {
        let reason = format!("the tensor {section}.{} names no parameter", tensor.name);
        return Err(burn_ckpt::Error::Mismatch { path: checkpoint.path().to_path_buf(), reason }.into());
    }
    let bytes = part.into_burnpack()?;
    R::checkpoint_from_bytes(bytes).map_err(|error| {
        let reason = format!("its {section} section cannot be read: {error}");
        burn_ckpt::Error::Mismatch { path: checkpoint.path().to_path_buf(), reason }.into()
    })
}
