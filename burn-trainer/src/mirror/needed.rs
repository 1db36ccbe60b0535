//! Which checkpoints of a mirror a run needs on disk that resumes from one of them: that one, those that
//! links name, and those that the strategies keep, so that the list of the best is the one of that state.

use std::collections::BTreeMap;
use std::path::Path;

use burn_ckpt::mirror::{MirroredCheckpoint, MirroredRun};
use burn_ckpt::retention::{Candidate, KeepRule, MetricMode, TopK};

use crate::config::TrainerConfig;
use crate::metrics::split_name;
use crate::strategy::StrategyConfig;

/// The checkpoints that are needed beside `newest`, oldest first. Links are read.
///
/// # Errors
///
/// [`burn_ckpt::Error::Mirror`] when a link cannot be read.
pub(super) fn needed<'a>(
    run: &'a MirroredRun,
    newest: &MirroredCheckpoint,
    config: &TrainerConfig,
) -> burn_ckpt::Result<Vec<&'a MirroredCheckpoint>> {
    let mut names: Vec<String> = Vec::new();
    for link in run.links() {
        names.extend(run.link_target(link)?);
    }
    let mut by_directory: BTreeMap<&Path, Vec<&MirroredCheckpoint>> = BTreeMap::new();
    for checkpoint in run.checkpoints() {
        let directory = Path::new(&checkpoint.name).parent().unwrap_or(Path::new(""));
        by_directory.entry(directory).or_default().push(checkpoint);
    }
    for strategy in config.effective_strategies() {
        let directory = strategy.files().directory();
        let there = by_directory.get(directory.as_path()).map(Vec::as_slice).unwrap_or_default();
        names.extend(kept(&strategy, config, there));
    }
    let is_needed = |checkpoint: &&MirroredCheckpoint| {
        checkpoint.name != newest.name
            && checkpoint.checkpoint_timestamp <= newest.checkpoint_timestamp
            && names.contains(&checkpoint.name)
    };
    Ok(run.checkpoints().iter().filter(is_needed).collect())
}

/// The names of those that a strategy keeps, of those in its directory.
fn kept(strategy: &StrategyConfig, config: &TrainerConfig, there: &[&MirroredCheckpoint]) -> Vec<String> {
    let topk = strategy.files().topk;
    let names = |rule: KeepRule, score: &dyn Fn(&MirroredCheckpoint) -> f64| -> Vec<String> {
        let candidates: Vec<Candidate> =
            (0..).zip(there).map(|(order, checkpoint)| Candidate::new(score(checkpoint), order)).collect();
        rule.kept(&candidates).into_iter().map(|place| there[place].name.clone()).collect()
    };
    match strategy {
        // With "all", what a run keeps says nothing of what it saves next.
        _ if topk == TopK::All => names(KeepRule::Newest(1.into()), &|_| f64::NAN),
        StrategyConfig::Best(best) => {
            let metric = best.metric.as_ref().or(config.primary_metric.as_ref());
            let Some(metric) = metric else { return Vec::new() };
            let score = |checkpoint: &MirroredCheckpoint| score(checkpoint, &metric.name);
            let modes = match best.mode.or(metric.mode) {
                Some(mode) => vec![mode],
                // Only the metric itself says, which is not registered yet.
                None => vec![MetricMode::Min, MetricMode::Max],
            };
            modes.into_iter().flat_map(|mode| names(KeepRule::Best(mode, topk), &score)).collect()
        }
        _ => names(KeepRule::Newest(topk), &|_| f64::NAN),
    }
}

/// The value of a metric, whose name can be written in several ways (`val_loss`, `val/loss`, `Val Loss`).
fn score(checkpoint: &MirroredCheckpoint, metric: &str) -> f64 {
    let metric = split_name(metric);
    let mut metrics = checkpoint.metrics.iter();
    metrics.find(|(name, _)| split_name(name) == metric).map_or(f64::NAN, |(_, value)| *value)
}
