//! Finding `last` and `best` in a run that has lost its links, as a copy without them has: each checkpoint
//! says for which strategies it was saved, and with which score.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::Deserialize;

use crate::disk::directories::{is_directory, is_symlink};
use crate::error::Result;
use crate::file_names::{link_name, shards_directory};
use crate::format::header::ContainerHeader;
use crate::format::numbers;
use crate::retention::{Candidate, KeepRule, MetricMode, TopK};
use crate::run_dir::catalog::{Catalog, file_name};
use crate::run_dir::layout::RunLayout;

/// The part of a trainer's state that says for which strategies it was saved.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SavedFor {
    /// By strategy (`last`, `best:val_loss`, `best:val_loss:DIRPATH`), the path relative to the `checkpoint`
    /// directory.
    saved_for: IndexMap<String, String>,
    #[serde(with = "numbers")]
    scores: IndexMap<String, f64>,
    /// Not in checkpoints of earlier versions.
    modes: IndexMap<String, MetricMode>,
}

struct StrategyCheckpoint {
    path: PathBuf,
    score: f64,
    mode: Option<MetricMode>,
    is_finite: bool,
}

/// The checkpoint that `last` or `best` means.
pub(crate) enum Located {
    /// The newest, or the best one.
    One(PathBuf),
    /// Several strategies have a best one, or it cannot be told which is the best: the hint names what there
    /// is.
    Several(String),
    /// None.
    Nothing,
}

/// Whether a file is in the place of a link, as in a copy of a run in which links are followed, and is the
/// index of a checkpoint whose shards are beside the file that the link led to.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) when that cannot be found out.
pub(crate) fn is_copy_without_shards(link: &Path) -> Result<bool> {
    if is_symlink(link)? || is_directory(&shards_directory(link))? {
        return Ok(false);
    }
    // A file that cannot be read is reported when it is opened.
    Ok(ContainerHeader::read(link).is_ok_and(|header| header.shards > 0))
}

/// The newest checkpoint that was saved as `last`, and that is finite if one is.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) when a directory cannot be listed.
pub(crate) fn last(run: &RunLayout) -> Result<Located> {
    let all: Vec<StrategyCheckpoint> = by_strategy(run, "last")?.into_values().flatten().collect();
    let newest = all.iter().rev().find(|found| found.is_finite).or(all.last());
    Ok(newest.map_or(Located::Nothing, |found| Located::One(found.path.clone())))
}

/// The best checkpoint by a metric, or by the only one there is.
///
/// # Errors
///
/// As for [`last`].
pub(crate) fn best(run: &RunLayout, metric: Option<&str>) -> Result<Located> {
    let wanted = metric.map(|metric| link_name(&format!("best_{metric}"))).transpose()?;
    let mut by_metric: IndexMap<String, Vec<StrategyCheckpoint>> = IndexMap::new();
    for (strategy, found) in by_strategy(run, "best")? {
        let metric = strategy.split(':').nth(1).unwrap_or_default();
        let link = link_name(&format!("best_{metric}"))?;
        if wanted.as_ref().is_none_or(|wanted| *wanted == link) {
            // One that is not finite is never the best.
            by_metric.entry(link).or_default().extend(found.into_iter().filter(|found| found.is_finite));
        }
    }
    by_metric.retain(|_, found| !found.is_empty());
    let several = |names: Vec<String>| Located::Several(format!("name one of {}", names.join(", ")));
    match (by_metric.pop(), by_metric.is_empty()) {
        (None, _) => Ok(Located::Nothing),
        (Some((_, found)), true) => Ok(best_of(&found).map_or_else(
            || several(found.iter().map(|found| file_name(&found.path)).collect()),
            |best| Located::One(best.path.clone()),
        )),
        (Some((link, _)), false) => Ok(several(by_metric.into_keys().chain([link]).collect())),
    }
}

/// `None` where it is not known whether higher or lower is better.
fn best_of(found: &[StrategyCheckpoint]) -> Option<&StrategyCheckpoint> {
    let candidates: Vec<Candidate> =
        (0..).zip(found).map(|(order, found)| Candidate { score: found.score, order }).collect();
    let mode = match found {
        [_] => MetricMode::Min,
        found => found.iter().find_map(|found| found.mode)?,
    };
    found.get(*KeepRule::Best(mode, TopK::Count(1)).kept(&candidates).first()?)
}

/// The checkpoints of the strategies of a kind, oldest first. One that cannot be read is left out.
fn by_strategy(run: &RunLayout, kind: &str) -> Result<IndexMap<String, Vec<StrategyCheckpoint>>> {
    let mut by_strategy: IndexMap<String, Vec<StrategyCheckpoint>> = IndexMap::new();
    for entry in Catalog::scan(run)?.entries {
        let header = ContainerHeader::read(&entry.path);
        let saved: SavedFor = match header.map(|header| serde_json::from_value(header.trainer_state)) {
            Ok(Ok(saved)) => saved,
            Ok(Err(_)) | Err(_) => continue,
        };
        for (strategy, path) in &saved.saved_for {
            let is_of_kind = strategy.split(':').next() == Some(kind);
            // A state of two strategies has two names, each with a strategy of its own.
            if is_of_kind && run.checkpoint_dir().join(path) == entry.path {
                let score = saved.scores.get(strategy).copied().unwrap_or(f64::NAN);
                let (path, mode) = (entry.path.clone(), saved.modes.get(strategy).copied());
                let is_finite = entry.metadata.is_finite();
                let found = StrategyCheckpoint { path, score, mode, is_finite };
                by_strategy.entry(strategy.clone()).or_default().push(found);
            }
        }
    }
    Ok(by_strategy)
}
