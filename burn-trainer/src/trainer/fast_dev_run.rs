//! A fast dev run: its temporary directory, and what it says at its begin and its end.

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::process::console::say;
use crate::process::progress::figures::significant;
use crate::process::temporary_root::TemporaryRoot;
use crate::result::FitResult;
use crate::state::end_reason::RunOutcome;

/// Makes the configuration that of a fast dev run, if it asks for one. Says where that writes.
///
/// # Errors
///
/// [`Error::Config`] for what would be an error of the run itself, [`Error::Checkpoint`] where no directory
/// can be made.
pub(super) fn begin(config: &mut TrainerConfig) -> Result<Option<TemporaryRoot>> {
    if !config.fast_dev_run {
        return Ok(None);
    }
    config.check()?;
    let root = TemporaryRoot::create()?;
    if config.writes() {
        let directory = root.path().display();
        if config.progress.is_on() {
            say(&format!(
                "fast_dev_run: one batch of everything, in {directory}, which is removed at the end"
            ));
        }
        if let Some(left_out) = config.ckpt_path.as_ref().filter(|path| *path != "none") {
            say(&format!("fast_dev_run: nothing is resumed: ckpt_path {left_out:?} is left out"));
        }
    }
    *config = config.of_fast_dev_run(root.path());
    Ok(Some(root))
}

/// Says what a fast dev run came to, unless it says nothing, and has its directory removed: with the result,
/// or now after an error.
pub(super) fn end<M>(
    root: Option<TemporaryRoot>,
    says: bool,
    ended: Result<FitResult<M>>,
) -> Result<FitResult<M>> {
    let Some(root) = root else { return ended };
    let mut result = ended.map_err(without_path)?;
    if says {
        say(&format!("fast_dev_run: {}", summary(&result)));
    }
    result.temporary = Some(root);
    Ok(result)
}

fn summary<M>(result: &FitResult<M>) -> String {
    if let RunOutcome::Stopped { reason, .. } = &result.outcome {
        return format!("stopped: {reason}; nothing is left");
    }
    let steps = match result.global_step {
        1 => "1 optimizer step".to_owned(),
        steps => format!("{steps} optimizer steps"),
    };
    let metrics = result.metrics.iter().map(|(name, value)| format!("{name} {}", significant(*value)));
    let metrics: Vec<String> = metrics.collect();
    let saved = match result.saves {
        0 => "nothing is saved by this process".to_owned(),
        _ => format!("{} checkpoints saved, the state loaded back", result.checkpoints.len()),
    };
    format!("passed: {steps}, {}; {saved}; nothing is left", metrics.join(", "))
}

/// The same error without the path of a checkpoint that is removed.
fn without_path(error: Error) -> Error {
    match error {
        Error::Panicked { message, .. } => Error::Panicked { message, saved: None },
        Error::Training { source, .. } => Error::Training { source, saved: None },
        Error::Callback { name, method, source, .. } => Error::Callback { name, method, source, saved: None },
        Error::DeviceLost { devices, reason, .. } => Error::DeviceLost { devices, reason, newest: None },
        error => error,
    }
}
