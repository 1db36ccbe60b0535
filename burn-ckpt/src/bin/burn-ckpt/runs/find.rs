//! Which directories are runs, and a summary of each, of several at the same time.

use std::path::Path;

use burn_ckpt::plumbing::{DEFAULT_LOGS, is_directory, run_at};

use crate::runs::in_parallel::in_parallel;
use crate::runs::run_directory::{check_is_not_a_checkpoint, directories_of_runs, is_run, not_a_directory};
use crate::runs::sort::name_parts;
use crate::runs::summary::RunSummary;
use crate::verb_result::Failure;

/// The runs of a directory, by name, in which numbers are sorted by their values: that of which it is the
/// directory, or those in it. Other directories among them are listed as such.
pub fn runs(directory: &Path) -> Result<Vec<RunSummary>, Failure> {
    if let Some(run) = run_at(directory)? {
        return Ok(vec![RunSummary::of(run.run_dir())]);
    }
    if is_run(directory)? {
        return Ok(vec![RunSummary::of(directory)]);
    }
    check_is_not_a_checkpoint(directory)?;
    if !is_directory(directory)? {
        return Err(not_a_directory(directory, &advice())?);
    }
    let mut directories = directories_of_runs(directory)?;
    if directories.is_empty() {
        return Err(Failure::Other(format!("{} has no run: {}", directory.display(), advice())));
    }
    directories.retain(|path| !is_hidden(path) || is_run(path).unwrap_or(true));
    directories.sort_by_cached_key(|path| (name_parts(&file_name(path)), path.clone()));
    Ok(in_parallel(&directories, |path| RunSummary::of(path)))
}

fn advice() -> String {
    format!("name a directory of runs, a run's directory, or one with {DEFAULT_LOGS}")
}

/// A path's last part as text.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
