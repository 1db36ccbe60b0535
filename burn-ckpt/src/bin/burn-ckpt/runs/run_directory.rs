//! Which directories are those of runs, and the run that an argument of the command line names.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    CHECKPOINT_DIR, DEFAULT_LOGS, is_checkpoint, is_directory, is_symlink, is_there, list, list_existing,
    run_at, run_of_checkpoint, stat,
};
use burn_ckpt::{Error, RunLayout, locate};

use crate::runs::run_signs::shows_a_run;
use crate::terminal::printable::in_one_line;
use crate::verb_result::Failure;

/// Runs that are named in an error.
const SHOWN_RUNS: usize = 5;

/// Whether a directory is that of a run: it has checkpoints, or what a run writes before its first one.
pub fn is_run(directory: &Path) -> Result<bool, Error> {
    Ok(is_directory(&directory.join(CHECKPOINT_DIR))? || shows_a_run(directory)?)
}

/// The run that an argument names by its directory, that of its checkpoints, or a link to one of them: so for
/// each verb that takes a run. Otherwise an error that says what is there, and what to name.
pub fn run_in(directory: &Path) -> Result<RunLayout, Failure> {
    if let Some(run) = run_at(directory)? {
        return Ok(run);
    }
    check_is_not_a_checkpoint(directory)?;
    if !is_directory(directory)? {
        // A run's id is the name of its directory.
        let by_id = Path::new(DEFAULT_LOGS).join(directory);
        let advice = match is_run(&by_id).unwrap_or(false) {
            true => format!("name {}", by_id.display()),
            false => "name a run's directory".to_owned(),
        };
        return Err(not_a_directory(directory, &advice)?);
    }
    if is_run(directory)? {
        return Ok(RunLayout::at(directory));
    }
    check_has_no_runs(directory)?;
    Err(Failure::Other(format!(
        "{} is not a run's directory: nothing in it says so, neither checkpoints nor a run's log or lock file",
        directory.display()
    )))
}

/// The same for a verb that is about the run's checkpoints.
pub fn run_with_checkpoints(directory: &Path) -> Result<RunLayout, Failure> {
    let run = run_in(directory)?;
    match is_directory(&run.checkpoint_dir())? {
        true => Ok(run),
        false => Err(Failure::Other(format!("the run {} has no checkpoint", directory.display()))),
    }
}

/// Fails for what is not a run, and does not become one: a checkpoint, and a directory of runs.
pub fn check_can_become_a_run(directory: &Path) -> Result<(), Failure> {
    check_is_not_a_checkpoint(directory)?;
    if run_at(directory)?.is_some() || !is_directory(directory)? || is_run(directory)? {
        return Ok(());
    }
    check_has_no_runs(directory)
}

/// What is in the place of a directory, and what to name.
pub fn not_a_directory(path: &Path, advice: &str) -> Result<Failure, Failure> {
    let what = match is_there(path)? {
        true if leads_nowhere(path)? => "is a link to something that is not there",
        true => "is a file",
        false => "is not there",
    };
    Ok(Failure::Other(format!("{} {what}: {advice}", path.display())))
}

/// Fails for a checkpoint, and for a directory of those of a run, and names the run.
pub fn check_is_not_a_checkpoint(path: &Path) -> Result<(), Failure> {
    if run_at(path)?.is_some() {
        return Ok(());
    }
    // What is not there is one neither, and no error says more than that.
    let is_one = |path: PathBuf| is_checkpoint(&path) && is_there(&path).unwrap_or(false);
    let what = match is_directory(path)? {
        false if locate(path).is_ok_and(is_one) => "a checkpoint",
        true if run_of_checkpoint(path).is_some() && list(path)?.iter().any(|path| is_checkpoint(path)) => {
            "a directory of checkpoints"
        }
        _ => return Ok(()),
    };
    let run = run_of_checkpoint(path)
        .map_or_else(|| "the run's directory".to_owned(), |run| run.run_dir().display().to_string());
    Err(Failure::Other(format!("{} is {what}, not a run: name {run}", path.display())))
}

/// Fails for a directory of runs, and names them.
fn check_has_no_runs(directory: &Path) -> Result<(), Failure> {
    let mut runs = directories_of_runs(directory)?;
    runs.retain(|path| is_run(path).unwrap_or(false));
    if runs.is_empty() {
        return Ok(());
    }
    let shown = directory.display();
    let names: Vec<String> =
        runs.iter().take(SHOWN_RUNS).map(|run| in_one_line(&run.display().to_string())).collect();
    let more = match runs.len().saturating_sub(SHOWN_RUNS) {
        0 => String::new(),
        more => format!(" and {more} more (burn-ckpt runs {shown})"),
    };
    Err(Failure::Other(format!(
        "{shown} is not a run's directory, but one of runs: name one of them: {}{more}",
        names.join(", ")
    )))
}

/// The directories among which runs are: those in this one, and those in the logs of a program in it, each if
/// one of them is a run. Sorted by their paths, and empty where there is no run. What cannot be seen could be
/// one.
///
/// # Errors
///
/// [`Error::Io`] when a directory cannot be listed.
pub fn directories_of_runs(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let if_of_runs = |mut paths: Vec<PathBuf>| {
        paths.retain(|path| is_directory(path).unwrap_or(true) || leads_nowhere(path).unwrap_or(true));
        paths.iter().any(|path| is_run(path).unwrap_or(true)).then_some(paths)
    };
    let mut directories = if_of_runs(list_existing(directory)?).unwrap_or_default();
    let logs = directory.join(DEFAULT_LOGS);
    let in_logs = if is_directory(&logs)? { list(&logs)? } else { Vec::new() };
    if let Some(in_logs) = if_of_runs(in_logs) {
        directories.retain(|path| *path != logs);
        directories.extend(in_logs);
        directories.sort();
    }
    Ok(directories)
}

/// Whether a path is a link to something that is not there.
pub fn leads_nowhere(path: &Path) -> Result<bool, Error> {
    Ok(is_symlink(path)? && stat(path)?.is_none())
}
