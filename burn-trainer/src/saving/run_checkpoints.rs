//! The checkpoints of a run, in all directories of its strategies.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    DIRECTORIES_FILE, MetadataParts, check_no_other_run, is_directory, outside_directories, scan_with,
    storage,
};
use burn_ckpt::{Catalog, CatalogEntry, Checkpoint, Metadata, RunLayout, Section};
use serde_json::Value;

use crate::config::TrainerConfig;
use crate::error::Result;
use crate::process::console::warn;
use crate::process::progress::figures::count;
use crate::process::run_output::note_named;
use crate::state::position::TrainerState;

/// Bytes of a metadata file's name: `epoch=99999-step=999999999-v99.ckpt.metadata.json` has 50.
const USUAL_NAME_BYTES: usize = 64;
/// Bytes of the mark in a staging file's name: 16 digits, `-`, 16 digits.
const STAGING_MARK_BYTES: usize = 33;

/// The checkpoints of the run that a configuration names, oldest first.
pub(crate) fn checkpoints(config: &TrainerConfig) -> Result<Catalog> {
    let layout = RunLayout::new(&config.root, &config.logs, config.run_id.as_deref().unwrap_or_default())?;
    scan(&layout, &elsewhere(config, &layout)?)
}

/// The newest checkpoint of the run that `auto` would try, and whose header says that it can be resumed.
pub(crate) fn newest_resumable(config: &TrainerConfig) -> Option<PathBuf> {
    let entries = checkpoints(config).ok()?.entries.into_iter().rev();
    let finite = entries.filter(|entry| entry.metadata.is_finite());
    finite.map(|entry| entry.path).find(|path| epochs_to_resume_after(path).is_some())
}

/// The number of epochs done in a checkpoint, if it can be resumed.
pub(crate) fn epochs_to_resume_after(path: &Path) -> Option<u64> {
    let checkpoint =
        Checkpoint::open(path).ok().filter(|checkpoint| checkpoint.has_section(Section::OPTIMIZER))?;
    let state: TrainerState = checkpoint.trainer_state().ok()?;
    state.check().ok()?;
    Some(state.position.epochs())
}

/// Leaves out what is large in each checkpoint's metadata, and not compared.
fn reduce(metadata: &mut Metadata) {
    (metadata.environment, metadata.model) = (Value::Null, Value::Null);
}

/// The run's checkpoints, oldest first, in its own directory and in the others.
pub(crate) fn scan(layout: &RunLayout, elsewhere: &[PathBuf]) -> Result<Catalog> {
    let warn_of_others = |directory: &Path, found: u64| {
        if note_named(directory) {
            warn(&format!(
                "{} has {} of another run with the id {}, which {} left alone: give each run an id of its own",
                directory.display(),
                count(found, "checkpoint"),
                layout.run_id(),
                if found == 1 { "is" } else { "are" }
            ));
        }
    };
    Ok(scan_with(layout, elsewhere, MetadataParts::All, reduce, warn_of_others)?)
}

/// The listed checkpoint that has the same content: the file that a link led to before a copy turned it into
/// a file.
pub(crate) fn twin<'a>(metadata: &Metadata, present: &'a Catalog) -> Option<&'a Path> {
    let is_same = |entry: &&CatalogEntry| {
        let entry = &entry.metadata;
        // Not the SHA-256, which is unknown where the metadata file beside a checkpoint is missing.
        (&entry.run_id, entry.checkpoint_timestamp, entry.checkpoint_size_bytes)
            == (&metadata.run_id, metadata.checkpoint_timestamp, metadata.checkpoint_size_bytes)
            && entry.tensors == metadata.tensors
    };
    present.entries.iter().find(is_same).map(|entry| entry.path.as_path())
}

/// The directories outside the run's own: those that the configuration names, and those into which earlier
/// starts have saved.
pub(crate) fn elsewhere(config: &TrainerConfig, layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut directories = configured_elsewhere(config, layout)?;
    directories.extend(outside_directories(layout)?);
    directories.sort();
    directories.dedup();
    Ok(directories)
}

/// Warns of directories into which the run has saved, and that are not there: on a disk that is not mounted
/// there can be checkpoints.
pub(crate) fn warn_of_missing_directories(layout: &RunLayout) -> Result<()> {
    for directory in outside_directories(layout)? {
        if !is_directory(&directory)? {
            warn(&format!(
                "the run has saved into {}, which is not there: checkpoints in it are not seen. If it is gone for good, remove it \
                 from {} and remove the links that lead to it",
                directory.display(),
                layout.run_dir().join(DIRECTORIES_FILE).display()
            ));
        }
    }
    Ok(())
}

fn configured_elsewhere(config: &TrainerConfig, layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for strategy in config.effective_strategies() {
        directories.push(strategy_directory(layout, &strategy.files().directory())?);
    }
    directories.retain(|directory| !directory.starts_with(layout.checkpoint_dir()));
    Ok(directories)
}

/// The directory of a strategy.
///
/// # Errors
///
/// [`Error::Checkpoint`](crate::Error::Checkpoint) for a `dirpath` that cannot be used, and for one among the
/// checkpoints of another run, which would take what is saved there for its own.
pub(super) fn strategy_directory(layout: &RunLayout, dirpath: &Path) -> Result<PathBuf> {
    let directory = layout.strategy_dir(dirpath)?;
    if !directory.starts_with(layout.checkpoint_dir()) {
        check_no_other_run(layout, &directory)?;
    }
    check_lengths(&directory)?;
    Ok(directory)
}

/// Checks before training that the file system takes the paths of the files in a directory: otherwise no save
/// would succeed.
fn check_lengths(directory: &Path) -> Result<()> {
    // The metadata's name while it is written is the longest.
    let path = directory.join(format!(
        ".{}.{}.staging",
        "x".repeat(USUAL_NAME_BYTES),
        "x".repeat(STAGING_MARK_BYTES)
    ));
    match storage::entry(&path) {
        Err(source) if source.kind() == ErrorKind::InvalidFilename => {
            Err(burn_ckpt::Error::io("save into", directory)(source).into())
        }
        _ => Ok(()),
    }
}

/// Warns that a checkpoint is skipped, also on standard error, since burn's log does not exist yet: there
/// once in a start. Returns the reason with the path.
pub(crate) fn report_skipped(path: &Path, reason: &dyn std::fmt::Display) -> String {
    let reason = reason.to_string();
    let line = skipped_line(&path.display().to_string(), &reason);
    match note_named(path) {
        true => warn(&line),
        false => log::warn!("{line}"),
    }
    let path = path.display().to_string();
    if reason.contains(&path) { reason } else { format!("{path}: {reason}") }
}

fn skipped_line(path: &str, reason: &str) -> String {
    match reason.strip_prefix(path).filter(|rest| rest.starts_with(' ')) {
        // `PATH is damaged: ..`
        Some(rest) => format!("skipped {path}: it{rest}"),
        None => format!("skipped {path}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use burn_ckpt::Contents;
    use indexmap::IndexMap;

    use super::*;
    use crate::state::position::Position;

    #[test]
    fn what_is_said_of_a_skipped_checkpoint_names_it_once_and_is_a_sentence() {
        let line = |reason| skipped_line("a/b.ckpt", reason);
        assert_eq!(line("a/b.ckpt is damaged: cut"), "skipped a/b.ckpt: it is damaged: cut");
        assert_eq!(line("it has 1 NaN"), "skipped a/b.ckpt: it has 1 NaN");
        let beside = "a/b.ckpt.metadata.json is invalid";
        assert_eq!(line(beside), format!("skipped a/b.ckpt: {beside}"));
    }
    #[test]
    fn a_state_with_a_count_that_no_run_reaches_is_not_one_to_resume_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ckpt");
        for (epoch, expected) in [(3, Some(4)), (u64::MAX, None)] {
            let position = Position { epoch, epoch_complete: true, ..Position::default() };
            assert_eq!(position.epochs(), epoch.saturating_add(1));
            let state = TrainerState::new(position, 1, 1.0, IndexMap::new());
            let state = serde_json::to_value(state).unwrap();
            let contents = Contents::new(&()).unwrap().with_trainer_state(state);
            let contents = contents.with_section(Section::OPTIMIZER, Section::new());
            contents.save(&path, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
            assert_eq!(epochs_to_resume_after(&path), expected);
        }
    }
}
