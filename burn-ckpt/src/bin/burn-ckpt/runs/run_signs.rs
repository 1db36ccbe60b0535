//! What in a directory shows that it is a run's. A file of a usual name shows nothing by its name alone.

use std::io::Read;
use std::path::{Path, PathBuf};

use burn_ckpt::Error;
use burn_ckpt::metrics_log::{METRICS_FILE, is_metrics_log};
use burn_ckpt::plumbing::{
    CHECKPOINT_DIR, DIRECTORIES_FILE, LaterTags, RUN_MARKS, TAGS_FILE, TAGS_LOCK_FILE, entry, list, storage,
};
use jiff::Timestamp;

const LOCK_FILE: &str = RUN_MARKS[0];
const EXPERIMENT_LOG: &str = RUN_MARKS[1];
/// How a lock file begins, and what follows in it.
const LOCK_START: &str = "process ";
const LOCK_NUMBER: &str = " (lock ";
/// How the module's name of the first event in a run's log begins.
const LOGGED_BY: &str = "burn";
/// Bytes that are looked at of a log, and of a lock file.
const HEAD_BYTES: usize = 512;

/// The files that only a run has, in the order in which they are removed with it: the directories that it
/// has saved to, its tags, its log of metrics, and burn's log.
///
/// # Errors
///
/// When a file of such a name cannot be read.
pub fn run_signs(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let path = |name: &str| directory.join(name);
    let mut signs = Vec::new();
    if is_regular(&path(DIRECTORIES_FILE))? {
        signs.push(path(DIRECTORIES_FILE));
    }
    if LaterTags::are_there(directory)? {
        signs.push(path(TAGS_FILE));
    }
    let metrics = path(METRICS_FILE);
    // A log of metrics that a loss of power has left empty shows nothing.
    if is_log_of_metrics(&metrics)? && head_of(&metrics)?.first().is_some_and(|first| *first != 0) {
        signs.push(metrics);
    }
    if is_log_of_burn(&path(EXPERIMENT_LOG))? {
        signs.push(path(EXPERIMENT_LOG));
    }
    Ok(signs)
}

/// Whether a directory is a run's, also without any checkpoint: one of its files shows it, a process that was
/// killed has left its lock file, or there is nothing but what a run creates first, all of it empty.
///
/// # Errors
///
/// When that cannot be read.
pub fn shows_a_run(directory: &Path) -> Result<bool, Error> {
    Ok(!run_signs(directory)?.is_empty()
        || is_lock_file(&directory.join(LOCK_FILE))?
        || has_just_begun(directory)?)
}

/// Whether a file is a run's log of metrics, and not a user's of the same name. An empty one is.
pub fn is_log_of_metrics(path: &Path) -> Result<bool, Error> {
    if !is_regular(path)? {
        return Ok(false);
    }
    let file = storage::StoredFile::open(path).map_err(Error::io("open", path))?;
    is_metrics_log(&file).map_err(Error::io("read", path))
}

/// Whether there is a regular file, and no link.
pub fn is_regular(path: &Path) -> Result<bool, Error> {
    Ok(entry(path)?.is_some_and(|entry| entry.is_file()))
}

/// Whether there is a directory, and no link.
pub fn is_own_directory(path: &Path) -> Result<bool, Error> {
    Ok(entry(path)?.is_some_and(|entry| entry.is_dir()))
}

/// Whether burn's logger has written a file: its first line has a time, a level, and the module of burn's or
/// of the trainer.
fn is_log_of_burn(path: &Path) -> Result<bool, Error> {
    if !is_regular(path)? {
        return Ok(false);
    }
    let head = String::from_utf8_lossy(&head_of(path)?).into_owned();
    let mut words = head.lines().next().unwrap_or_default().split_whitespace();
    let is_of_a_time = words.next().is_some_and(|time| time.parse::<Timestamp>().is_ok());
    Ok(is_of_a_time && words.nth(1).is_some_and(|module| module.starts_with(LOGGED_BY)))
}

/// Whether a process has written a file to lock a run.
fn is_lock_file(path: &Path) -> Result<bool, Error> {
    if !is_regular(path)? {
        return Ok(false);
    }
    let head = String::from_utf8_lossy(&head_of(path)?).into_owned();
    Ok(head.starts_with(LOCK_START) && head.contains(LOCK_NUMBER))
}

/// Whether there is nothing but what a run creates first, and all of it is empty: nothing can be lost.
fn has_just_begun(directory: &Path) -> Result<bool, Error> {
    let mut has_begun = false;
    for path in list(directory)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_a_runs = match name {
            CHECKPOINT_DIR => is_own_directory(&path)? && has_empty_directories_alone(&path)?,
            LOCK_FILE | EXPERIMENT_LOG | METRICS_FILE | TAGS_LOCK_FILE => {
                is_regular(&path)? && head_of(&path)?.is_empty()
            }
            _ => false,
        };
        if !is_a_runs {
            return Ok(false);
        }
        has_begun |= matches!(name, CHECKPOINT_DIR | LOCK_FILE | EXPERIMENT_LOG);
    }
    Ok(has_begun)
}

fn has_empty_directories_alone(directory: &Path) -> Result<bool, Error> {
    for path in list(directory)? {
        if !is_own_directory(&path)? || !list(&path)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn head_of(path: &Path) -> Result<Vec<u8>, Error> {
    let file = storage::StoredFile::open(path).map_err(Error::io("open", path))?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(Error::io("read", path))?;
    Ok(head)
}
