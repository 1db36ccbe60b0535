//! The listings of what the user names: a run, a directory of runs, one of files, or one in which a program
//! trains.

use std::path::Path;

use burn_ckpt::plumbing::{
    CHECKPOINT_DIR, CHECKPOINT_SUFFIX, DEFAULT_LOGS, is_directory, is_there, list, run_at,
};
use burn_ckpt::{Checkpoint, Error, RunLayout};

use crate::ls::listing::Listing;
use crate::runs::find::file_name;
use crate::runs::sort::name_parts;
use crate::verb_result::Failure;

/// The listings of a directory: of the run whose directory it is, or of the runs and files in it. At least
/// one, and each has something: a run that cannot be read has that error.
pub fn listings(directory: &Path) -> Result<Vec<Listing>, Failure> {
    if let Some(run) = run_at(directory)? {
        let listing = Listing::of_run(&run)?;
        return match listing.has_nothing() {
            true => Err(Failure::Other(format!("the run {} has no checkpoint", directory.display()))),
            false => Ok(vec![listing]),
        };
    }
    check_is_directory(directory)?;
    let mut found = listings_in(directory)?;
    let logs = directory.join(DEFAULT_LOGS);
    if is_directory(&logs)? {
        found.extend(listings_in(&logs)?);
    }
    match found.is_empty() {
        true => Err(not_listed(directory, "has no checkpoint")),
        false => Ok(found),
    }
}

/// Those of a directory and of the runs right in it that have something to list, `r2` before `r10`.
fn listings_in(directory: &Path) -> Result<Vec<Listing>, Failure> {
    let mut found = vec![Listing::of_directory(directory)?];
    let mut paths = list(directory)?;
    paths.sort_by_cached_key(|path| (name_parts(&file_name(path)), path.clone()));
    for path in paths {
        let checkpoints = path.join(CHECKPOINT_DIR);
        match is_directory(&checkpoints) {
            Ok(true) => {
                let run = RunLayout::at(&path);
                found.push(Listing::of_run(&run).unwrap_or_else(|error| Listing::without(&path, error)));
            }
            // Not a run's directory.
            Ok(false) => {}
            Err(error) => found.push(Listing::without(&path, error)),
        }
    }
    found.retain(|listing| !listing.has_nothing());
    Ok(found)
}

fn not_listed(path: &Path, problem: &str) -> Failure {
    Failure::Other(format!(
        "{} {problem}: name a run's directory, a directory of runs, or a directory of {CHECKPOINT_SUFFIX} files",
        path.display()
    ))
}

/// Fails for a path that names no directory, and says what it names.
fn check_is_directory(path: &Path) -> Result<(), Failure> {
    if is_directory(path)? {
        return Ok(());
    }
    let shown = path.display();
    match Checkpoint::open(path) {
        Ok(_) => Err(Failure::Other(format!(
            "{shown} is a checkpoint, not a directory of checkpoints: burn-ckpt show {shown}"
        ))),
        // An address, which this program was not built for.
        Err(error @ Error::Name { .. }) => Err(error.into()),
        Err(_) if is_there(path)? => Err(not_listed(path, "is a file")),
        Err(_) => Ok(()),
    }
}
