//! Which directories are those of runs.

use std::path::Path;

use burn_ckpt::plumbing::{CHECKPOINT_DIR, is_directory, run_at};
use burn_ckpt::{Error, RunLayout};

use crate::runs::run_signs::shows_a_run;
use crate::verb_result::Failure;

/// Whether a directory is that of a run: it has checkpoints, or what a run writes before its first one.
pub fn is_run(directory: &Path) -> Result<bool, Error> {
    Ok(is_directory(&directory.join(CHECKPOINT_DIR))? || shows_a_run(directory)?)
}

/// The run in this directory, or an error that says what is there.
pub fn run_in(directory: &Path) -> Result<RunLayout, Failure> {
    if let Some(run) = run_at(directory)? {
        return Ok(run);
    }
    let path = directory.display();
    match is_directory(directory)? {
        true if is_run(directory)? => Ok(RunLayout::at(directory)),
        true => Err(Failure::Other(format!(
            "{path} is not a run's directory: nothing in it says so, neither checkpoints nor a run's log or lock file"
        ))),
        false => Err(Failure::Other(format!("{path} is not a directory, and so not a run"))),
    }
}
