//! Which directories are those of runs.

use std::path::Path;

use burn_ckpt::plumbing::{CHECKPOINT_DIR, RUN_MARKS, is_directory, is_there, run_at};
use burn_ckpt::{Error, RunLayout};

use crate::verb_result::Failure;

/// Whether a directory is that of a run: it has checkpoints, or what a run writes before its first one.
pub fn is_run(directory: &Path) -> Result<bool, Error> {
    if is_directory(&directory.join(CHECKPOINT_DIR))? {
        return Ok(true);
    }
    for mark in RUN_MARKS {
        if is_there(&directory.join(mark))? {
            return Ok(true);
        }
    }
    Ok(false)
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
            "{path} is not a run's directory: it has neither checkpoints nor a log of a run"
        ))),
        false => Err(Failure::Other(format!("{path} is not a directory, and so not a run"))),
    }
}
