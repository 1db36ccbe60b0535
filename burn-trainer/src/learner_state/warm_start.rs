//! The initial weights of a new run, from another checkpoint.

use burn::train::{Learner, LearnerModel};
use burn_ckpt::Checkpoint;

use crate::config::InitFrom;
use crate::error::{Error, Result};
use crate::process::console::note;

/// Puts the weights into the learner, and says which, if `shows`. Optimizer and scheduler stay as they are.
///
/// # Errors
///
/// [`Error::Config`] for an invalid expression; [`Error::Checkpoint`] when the checkpoint cannot be read or
/// does not fit.
pub(crate) fn load<M: LearnerModel>(
    learner: &mut Learner<M>,
    init_from: &InitFrom,
    shows: bool,
) -> Result<()> {
    let options = init_from.options().map_err(|reason| Error::config("init_from.remap", reason))?;
    let checkpoint = Checkpoint::open(&init_from.checkpoint)?;
    let (model, report) = checkpoint.load_into_with(learner.model(), &options)?;
    learner.load_model(model.into_record());
    if shows {
        let report = report.to_string();
        // A line of counts, then one for each tensor that does not fit.
        let (counts, tensors) = report.split_once('\n').unwrap_or((&report, ""));
        note(&format!("initial weights from {}: {counts}", checkpoint.path().display()));
        tensors.lines().for_each(note);
    }
    Ok(())
}
