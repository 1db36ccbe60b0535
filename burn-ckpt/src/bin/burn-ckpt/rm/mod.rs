//! `burn-ckpt rm`: removes a run, and only what is the run's.
//!
//! First everything is found, then the user is asked. Then the run's lock is taken, everything is found
//! again, and it is removed if it is what the user was asked about. What says that the directory is a run's
//! is removed last. A removal that is interrupted leaves a run that can be listed, and removed, or at its end
//! an empty directory, which can be removed too.

mod own_files;

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    LaterTags, LockMode, LockState, RunLock, check_own, is_symlink, list, lock_state, real_path,
    real_path_if_there, storage,
};
use burn_ckpt::{Error, RunLayout};
use serde_json::json;

use crate::runs::run_directory::run_in;
use crate::runs::run_signs::{is_own_directory, shows_a_run};
use crate::terminal::confirm::is_confirmed;
use crate::terminal::figures::{count, size};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::{first_names, in_one_line};
use crate::verb_result::{Failure, VerbResult};
use own_files::OwnFiles;

/// Remove a run
///
/// Removes the run's checkpoints with their links, metadata, evaluations and shards, also those in
/// directories outside that it has saved to; its metric files, log, tags and notes; and its directory, if
/// nothing else is in it. Of a run in a mirror: its checkpoints, links, evaluations, and its part of the log
/// of metrics. What is not the run's stays, and is named. On a terminal the program asks first; elsewhere
/// --yes is needed. A run that is being written to is an error, and so is a directory that is not a run's,
/// unless it is empty, as after a removal that was killed.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory, or its address in a mirror
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    #[cfg(feature = "mirror")]
    if let Some(address) = crate::mirror::address_of(&args.run)? {
        let Args { yes, dry_run, json, .. } = *args;
        return crate::mirror::rm::run(&address, crate::mirror::rm::How { yes, dry_run, json });
    }
    // With a slash at its end, a link would be what it leads to.
    let directory: PathBuf = args.run.components().collect();
    // What a removal leaves that was killed before its last step. Nothing in it can be lost.
    let is_empty = is_own_directory(&directory)? && list(&directory)?.is_empty();
    let layout = if is_empty { RunLayout::at(&directory) } else { run_in(&directory)? };
    let shown = in_one_line(&layout.run_dir().display().to_string());
    if is_symlink(layout.run_dir())? {
        let real = real_path(layout.run_dir())?;
        return Err(Failure::Other(format!("{shown} is a link to {}: name that directory", real.display())));
    }
    let layout = RunLayout::at(real_path(layout.run_dir())?);
    // For other verbs a run's checkpoints name it. Here less is named than would be removed.
    if real_path_if_there(&directory)?.as_deref() != Some(layout.run_dir()) {
        let named = in_one_line(&directory.display().to_string());
        return Err(Failure::Other(format!("{named} is in the run {shown}: name that directory")));
    }
    // Another run's directory, whose lock is not held.
    check_own(&layout)?;
    let shows_a_run = is_empty || shows_a_run(layout.run_dir())?;
    // No lock is held while the user thinks: training can continue.
    let asks = !args.dry_run && !args.yes;
    if asks && let Ok(LockState::Held(holder)) = lock_state(layout.run_dir()) {
        return Err(Error::Locked { path: layout.run_dir().to_path_buf(), holder }.into());
    }
    let own = OwnFiles::of(&layout, shows_a_run)?;
    let found = found(&own, &layout);
    if args.dry_run {
        report(args, &own, &found, &own.left(&layout)?, &layout)?;
        return Ok(true);
    }
    if asks && !is_confirmed(&found, &layout.run_dir().display().to_string())? {
        say("nothing is removed");
        return Ok(false);
    }
    remove(args, &own, &layout, shows_a_run)
}

/// Removes the run while its locks are held, if what is found then is what was found before.
fn remove(args: &Args, before: &OwnFiles, layout: &RunLayout, shows_a_run: bool) -> VerbResult {
    let shown = in_one_line(&layout.run_dir().display().to_string());
    let lock = RunLock::acquire_to_tidy(layout.run_dir(), LockMode::IfPossible)?;
    if let Some(error) = lock.unsupported() {
        say(format!(
            "warning: the file system of {shown} has no locks ({error}), so a process that is writing to this run cannot be noticed"
        ));
    }
    // Taken to keep others from changing the tags meanwhile, and to remove the file that a killed one left.
    let tags_lock = LaterTags::lock(layout.run_dir())?;
    let own = OwnFiles::of(layout, shows_a_run)?;
    let now = found(&own, layout);
    let all = |own: &OwnFiles| (own.checkpoints.clone(), own.files.clone(), own.bytes);
    if !args.yes && all(before) != all(&own) {
        return Err(Failure::Other(format!(
            "nothing is removed: {shown} has changed since the question was asked, and has {now} now"
        )));
    }
    own.remove(layout)?;
    // The lock files go with the locks, also one that a killed process had left.
    drop((tags_lock, lock.with_file_removed()));
    let left = remove_directory(layout.run_dir())?;
    report(args, &own, &now, &left, layout)?;
    Ok(true)
}

/// What of a run is to be removed, in words.
fn found(own: &OwnFiles, layout: &RunLayout) -> String {
    format!(
        "{} and {} of the run {}, {}",
        count(own.checkpoints.len(), "checkpoint"),
        count(own.files.len(), "other file"),
        in_one_line(layout.run_id()),
        size(own.bytes)
    )
}

fn report(
    args: &Args,
    own: &OwnFiles,
    found: &str,
    left: &[PathBuf],
    layout: &RunLayout,
) -> Result<(), Failure> {
    let texts = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "run": layout.run_id(),
            "directory": layout.run_dir().display().to_string(),
            "dry_run": args.dry_run,
            "checkpoints": texts(&own.checkpoints),
            "other_files": own.files.len(),
            "size_bytes": own.bytes,
            "left": texts(left),
            "of_other_runs": texts(&own.of_other_runs),
        }))?;
    } else {
        output.line(format!("{} {found}", if args.dry_run { "would remove" } else { "removed" }))?;
    }
    output.flush()?;
    say_of_other_runs(&own.of_other_runs);
    say_left(left, layout.run_dir());
    Ok(())
}

/// Removes the run's directory if it is empty. Returns what is left in it.
fn remove_directory(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let left = list(directory)?;
    if left.is_empty() {
        storage::remove_directory(directory).map_err(Error::io("remove", directory))?;
    }
    Ok(left)
}

fn say_of_other_runs(paths: &[PathBuf]) {
    if !paths.is_empty() {
        let names = first_names(paths, |path| path.display().to_string());
        say(format!(
            "note: what has another run's id, was saved by another run of this id, or is among another run's checkpoints, stays: \
             {names}"
        ));
    }
}

fn say_left(left: &[PathBuf], directory: &Path) {
    if !left.is_empty() {
        let names =
            first_names(left, |path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        say(format!(
            "note: {} stays, as it has what is not known to be the run's: {names}",
            in_one_line(&directory.display().to_string())
        ));
    }
}
