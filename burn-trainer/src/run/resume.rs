//! Going on where a run stopped: which checkpoint, is it whole, and its state put into the learner.

use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::Checkpoint as Record;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::plumbing::resolve;
use burn_ckpt::{Catalog, CatalogEntry, Checkpoint, Metadata, RunLayout, Section};

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::metrics::History;
use crate::optimizer::state_names;
use crate::process::console::{say, warn};
use crate::state::position::{Position, TrainerState};

/// A verified checkpoint to go on from.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) state: TrainerState,
    pub(crate) history: History,
    /// What is beside it, and was compared with it.
    pub(crate) metadata: Metadata,
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
        warn(&message);
    }
}

/// For a loop that can only begin at an epoch: `resume`, or under `auto` the newest checkpoint before it that is at an
/// epoch's end.
pub(crate) fn at_an_epoch(
    resume: Resume,
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
) -> Result<Resume> {
    let (path, epoch) = match begins_an_epoch(&resume) {
        Err(Error::MidEpoch { path, epoch, .. }) if config.ckpt_path.as_deref() == Some("auto") => {
            (path, epoch)
        }
        checked => return checked.map(|()| resume),
    };
    let mut reasons = vec![passed_within(&path, epoch)];
    let older = present.entries.iter().rev().skip_while(|entry| entry.path != path).skip(1);
    let found = first_usable(older, &mut reasons, begins_an_epoch);
    found.ok_or_else(|| Error::NothingToResume { path: layout.checkpoint_dir(), reasons })
}

fn begins_an_epoch(resume: &Resume) -> Result<()> {
    let Position { epoch, batches, trained, .. } = resume.state.position.next();
    if batches == 0 && !trained {
        return Ok(());
    }
    Err(Error::MidEpoch { path: resume.checkpoint.path().to_path_buf(), epoch, batches })
}

/// The learner's state in burn's records.
pub(crate) struct Records {
    pub(crate) model: ModuleRecord,
    pub(crate) optimizer: OptimizerRecord,
    pub(crate) scheduler: LrSchedulerRecord,
}

/// Reads the records of a checkpoint.
pub(crate) fn records(resume: &Resume) -> Result<Records> {
    let checkpoint = &resume.checkpoint;
    let optimizer = state_names::by_id(checkpoint.section(Section::OPTIMIZER)?);
    Ok(Records {
        model: checkpoint.model_record()?,
        optimizer: record(checkpoint, Section::OPTIMIZER, optimizer)?,
        scheduler: record(checkpoint, Section::SCHEDULER, checkpoint.section(Section::SCHEDULER)?)?,
    })
}

/// Puts model, optimizer and scheduler of a checkpoint into a learner.
pub(crate) fn restore<M: LearnerModel>(learner: &mut Learner<M>, resume: &Resume) -> Result<()> {
    // burn panics on a record that does not fit; ask first.
    resume.checkpoint.check_fits(&learner.model())?;
    let Records { model, optimizer, scheduler } = records(resume)?;
    learner.load_model(model);
    learner.load_optim(optimizer);
    learner.load_scheduler(scheduler);
    Ok(())
}

/// Checks that the learner has what it was given: its optimizer and scheduler are now these. burn leaves out what an
/// optimizer does not know, and would go on without it.
pub(crate) fn check_taken_over(optimizer: &Section, scheduler: &Section, resume: &Resume) -> Result<()> {
    let path = resume.checkpoint.path();
    let missing = missing(&resume.checkpoint.section(Section::OPTIMIZER)?, optimizer);
    if !missing.is_empty() {
        let reason = format!(
            "the optimizer of this program does not know its {}: it was saved with another kind of optimizer, or \
             with other parameters",
            missing.join(", ")
        );
        return Err(unusable(path, reason));
    }
    let saved = resume.checkpoint.section(Section::SCHEDULER)?.scalars;
    if !saved.keys().eq(scheduler.scalars.keys()) {
        let message = format!(
            "{}: it was saved with another kind of learning-rate scheduler; this program's begins at its start",
            path.display()
        );
        warn(&message);
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
    tensors.chain(scalars).map(|name| format!("{}.{name}", Section::OPTIMIZER)).collect()
}

fn newest(layout: &RunLayout, present: &Catalog) -> Result<Option<Resume>> {
    let mut reasons = Vec::new();
    for (path, error) in &present.broken {
        reasons.push(passed(path, error));
    }
    if let Some(resume) = first_usable(present.entries.iter().rev(), &mut reasons, |_| Ok(())) {
        return Ok(Some(resume));
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    // A fresh start would look as if all were well, and leave these behind.
    Err(Error::NothingToResume { path: layout.checkpoint_dir(), reasons })
}

/// The first one that is whole and that will do. Says why the others are passed over.
fn first_usable<'a>(
    entries: impl Iterator<Item = &'a CatalogEntry>,
    reasons: &mut Vec<String>,
    will_do: impl Fn(&Resume) -> Result<()>,
) -> Option<Resume> {
    for entry in entries {
        match open(&entry.path).and_then(|resume| will_do(&resume).map(|()| resume)) {
            Ok(resume) => return Some(resume),
            // Weights alone are nothing to warn of.
            Err(Error::Checkpoint(error @ burn_ckpt::Error::MissingSection { .. })) => {
                reasons.push(error.to_string());
            }
            Err(Error::MidEpoch { path, epoch, .. }) => reasons.push(passed_within(&path, epoch)),
            Err(error) => reasons.push(passed(&entry.path, &error)),
        }
    }
    None
}

/// Says that a checkpoint is passed over: on standard error too, since burn's log does not exist yet.
pub(crate) fn passed(path: &Path, reason: &dyn std::fmt::Display) -> String {
    let (path, mut reason) = (path.display().to_string(), reason.to_string());
    if !reason.contains(&path) {
        reason = format!("{path}: {reason}");
    }
    log::warn!("passed over {reason}");
    say(&format!("warning: passed over {reason}"));
    reason
}

/// The same of one that somebody else's loop cannot go on from. (The error's own text is for who has named it.)
fn passed_within(path: &Path, epoch: u64) -> String {
    passed(path, &format!("it was saved within epoch {epoch}, and only Trainer::fit goes on there"))
}

fn best(config: &TrainerConfig, layout: &RunLayout) -> Result<PathBuf> {
    // The link of the primary metric where there is one, else the only link there is.
    let primary = config.primary_metric.as_ref().map(|metric| resolve(layout, "best", Some(&metric.name)));
    match primary {
        Some(Ok(path)) => Ok(path),
        _ => Ok(resolve(layout, "best", None)?),
    }
}

fn open(path: &Path) -> Result<Resume> {
    let checkpoint = Checkpoint::open(path)?;
    let metadata = checkpoint.verify()?;
    for section in [Section::OPTIMIZER, Section::SCHEDULER] {
        if !checkpoint.has_section(section) {
            checkpoint.section(section)?;
        }
    }
    let state: TrainerState = checkpoint.trainer_state()?;
    state.check().map_err(|reason| unusable(path, reason))?;
    let history = match checkpoint.has_section(Section::HISTORY) {
        true => {
            let history = History::from_section(checkpoint.section(Section::HISTORY)?).map_err(|reason| {
                unusable(path, format!("its {} section cannot be read: {reason}", Section::HISTORY))
            })?;
            let (epochs, done) = (history.epochs() as u64, state.position.epochs());
            if epochs > done {
                let reason = format!("its state is after {done} epochs, and its history has {epochs}");
                return Err(unusable(path, reason));
            }
            history
        }
        false => History::default(),
    };
    Ok(Resume { checkpoint, state, history, metadata })
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Unusable { path: path.to_path_buf(), reason }
}

fn record<R: Record>(checkpoint: &Checkpoint, section: &str, part: Section) -> Result<R> {
    // burn expects every tensor of an optimizer's record to name its parameter, and panics otherwise.
    if let Some(tensor) = part.tensors.iter().find(|tensor| tensor.param_id.is_none()) {
        let reason = format!("the tensor {section}.{} names no parameter", tensor.name);
        return Err(unusable(checkpoint.path(), reason));
    }
    let bytes = part.into_burnpack()?;
    R::checkpoint_from_bytes(bytes).map_err(|error| {
        unusable(checkpoint.path(), format!("its {section} section cannot be read: {error}"))
    })
}
