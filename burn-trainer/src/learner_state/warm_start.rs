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
        note(&format!("initial weights from {}: {report}", checkpoint.path().display()));
    }
    Ok(())
}
