//! What a report shows of each checkpoint of a run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::disk::directories::{is_symlink, real_path_if_there};
use crate::error::{Error, Result};
use crate::run_dir::catalog::CatalogEntry;
use crate::run_dir::layout::{BEST_DIR, LAST_DIR, RunLayout};
use crate::run_dir::locate::{LinkReplacement, resolve};
use crate::start_changes::is_trained_again;

/// A checkpoint of a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CheckpointData {
    /// Relative to the directory of checkpoints where it is there.
    path: String,
    global_step: u64,
    epoch: u64,
    /// The primary metric's value.
    score: Option<f64>,
    bytes: u64,
    saved: Timestamp,
    reason: String,
    /// Which tensors have values that are not finite, in words.
    non_finite: Option<String>,
    pub(super) is_best: bool,
    is_last: bool,
    /// Whether the part of the run that it is of was trained again: the curves are of other states then.
    is_trained_again: bool,
}

impl CheckpointData {
    /// Whether it is that of an entry. Two can have one step.
    pub(super) fn is_of(&self, CatalogEntry { path, metadata }: &CatalogEntry) -> bool {
        metadata.checkpoint_timestamp == self.saved && path.ends_with(&self.path)
    }
}

/// The run's checkpoints as the page lists them. `metric` ranks them. The last entry has its whole metadata.
pub(super) fn checkpoints(
    layout: &RunLayout,
    entries: &[CatalogEntry],
    metric: Option<&str>,
) -> Result<Vec<CheckpointData>> {
    let directory = layout.checkpoint_dir();
    let linked = |name: &str, metric| match resolve(layout, name, metric) {
        Ok(path) => target(&path, entries),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let newest = entries.last().map(|newest| &newest.metadata);
    let (best, last) = (linked(BEST_DIR, metric)?, linked(LAST_DIR, None)?);
    let data = |CatalogEntry { path, metadata }: &CatalogEntry| {
        // The run may have deleted it since it was listed.
        let Some(real) = real_path_if_there(path)?.map(Some) else { return Ok(None) };
        Ok(Some(CheckpointData {
            path: path.strip_prefix(&directory).unwrap_or(path).display().to_string(),
            global_step: metadata.global_step,
            epoch: metadata.epoch,
            score: metric
                .and_then(|metric| metadata.metrics.get(metric))
                .copied()
                .filter(|score| score.is_finite()),
            bytes: metadata.total_bytes(),
            saved: metadata.checkpoint_timestamp,
            reason: metadata.reason.clone(),
            non_finite: metadata.found_non_finite().map(ToString::to_string),
            is_best: real == best,
            is_last: real == last,
            is_trained_again: newest.is_some_and(|newest| is_trained_again(metadata, newest)),
        }))
    };
    entries.iter().filter_map(|entry| data(entry).transpose()).collect()
}

/// The real path of the checkpoint that a link leads to, or of which the file in a link's place is a copy.
fn target(link: &Path, entries: &[CatalogEntry]) -> Result<Option<PathBuf>> {
    let replacement = if is_symlink(link).unwrap_or(true) { None } else { LinkReplacement::read(link) };
    let target = replacement.and_then(|replacement| {
        entries.iter().find(|entry| replacement.led_to(&entry.path, &entry.metadata))
    });
    real_path_if_there(target.map_or(link, |entry| &entry.path))
}
