//! `end_with`: after training, the parameters of the best checkpoint in place of those of the last step.

use burn::module::Module;
use burn_ckpt::{Checkpoint, LoadOptions};

use crate::config::EndWith;
use crate::error::Result;
use crate::process::console::warn;
use crate::result::FitResult;

/// Gives the model of a result the parameters that the configuration asks for.
///
/// # Errors
///
/// [`Error::Checkpoint`](crate::Error::Checkpoint) when a run that is done has no best checkpoint, or it
/// cannot be loaded: another model than the one asked for must not be used instead.
pub(super) fn load<M: Module>(mut result: FitResult<M>, end_with: EndWith) -> Result<FitResult<M>> {
    if end_with == EndWith::Last {
        return Ok(result);
    }
    if result.best().is_none() && result.outcome.is_stopped() {
        warn(&format!(
            "end_with is \"best\", and the run has no best checkpoint yet: the model that training returns is that of step {}",
            result.global_step
        ));
        return Ok(result);
    }
    let path = result.best_path()?.to_path_buf();
    let checkpoint = Checkpoint::open(&path)?;
    // What the score is of.
    let mut options = LoadOptions::new();
    options.part = result.part_of_score(&checkpoint)?;
    (result.model, _) = checkpoint.load_into_with(result.model, &options)?;
    result.model_checkpoint = Some(path);
    Ok(result)
}
