//! Which directories are those of runs.

use std::path::Path;

use burn_ckpt::Error;
use burn_ckpt::plumbing::{CHECKPOINT_DIR, RUN_MARKS, is_directory, is_there};

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
