//! The initial weights of a new run, from another checkpoint.

use burn::train::{Learner, LearnerModel};
use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::non_finite_tensors;

use crate::config::InitFrom;
use crate::error::{Error, Result};
use crate::process::console::{note, warn};
use crate::process::progress::figures::count;

/// Puts the weights into the learner. Says which where `as_built` has the names of the tensors that were not
/// finite before. Optimizer and scheduler stay as they are.
///
/// # Errors
///
/// [`Error::Config`] for an invalid expression; [`Error::Checkpoint`] when the checkpoint cannot be read or
/// does not fit.
pub(crate) fn load<M: LearnerModel>(
    learner: &mut Learner<M>,
    init_from: &InitFrom,
    as_built: Option<&[String]>,
) -> Result<()> {
    let model = loaded(learner.model(), init_from, as_built)?;
    learner.load_model(model.into_record());
    Ok(())
}

/// Says that the metrics of the checkpoint are not of the weights that are taken.
fn note_average(checkpoint: &Checkpoint, init_from: &InitFrom) -> Result<()> {
    if init_from.part.is_none()
        && let Some(part) = checkpoint.validated_part()?
    {
        note(&format!(
            "these are the parameters that were trained. Their run has validated with {part}: init_from.part {part:?} takes that"
        ));
    }
    Ok(())
}

/// The same for a model alone.
pub(crate) fn loaded<M: LearnerModel>(
    model: M,
    init_from: &InitFrom,
    as_built: Option<&[String]>,
) -> Result<M> {
    let options = init_from.options().map_err(|reason| Error::config("init_from.remap", reason))?;
    let checkpoint = Checkpoint::open(&init_from.checkpoint)?;
    let (model, report) = checkpoint.load_into_with(model, &options)?;
    if let Some(as_built) = as_built {
        let report = report.to_string();
        // A line of counts, then one for each tensor that does not fit.
        let (counts, tensors) = report.split_once('\n').unwrap_or((&report, ""));
        note(&format!("initial weights from {}: {counts}", checkpoint.path().display()));
        tensors.lines().for_each(note);
        note_average(&checkpoint, init_from)?;
        let mut new = non_finite_tensors(&model.valid())?;
        new.retain(|name| !as_built.contains(name));
        if let [first, ..] = &new[..] {
            warn(&format!(
                "the weights from {} have values that are not finite in {} (the first is {first}): training begins with them",
                checkpoint.path().display(),
                count(new.len() as u64, "tensor")
            ));
        }
    }
    Ok(model)
}
