//! The rules that say which checkpoints stay: `last=N`, `best=METRIC:N`, `links`.
//!
//! A wrong mode would remove the best checkpoint. So the mode is never guessed, and two modes that differ are
//! an error. A run states the mode in its newest state or its configuration. Where neither does, its link to
//! the best checkpoint shows it.

use std::num::NonZeroUsize;
use std::str::FromStr;

use burn_ckpt::retention::{Candidate, KeepRule, MetricMode, TopK};
use burn_ckpt::{Checkpoint, Metadata};
use jiff::Timestamp;

use crate::ls::listing::Row;
use crate::ls::metric_mode::{configured_mode, mode_of_best_link, ranking_mode};
use crate::ls::metrics::unknown_metric;
use crate::verb_result::Failure;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    Last(NonZeroUsize),
    Best {
        metric: String,
        count: NonZeroUsize,
        mode: Option<MetricMode>,
    },
    /// Keeps only the files that links point to, which every rule keeps.
    Links,
}

/// Run, time and step of a state, which are the same under all its names.
pub fn state(row: &Row) -> Option<(&str, Timestamp, u64)> {
    let metadata = row.metadata.as_ref()?;
    Some((&metadata.run_id, metadata.checkpoint_timestamp, metadata.global_step))
}

/// Whether its parameters are finite, as far as it says.
fn is_finite(row: &Row) -> bool {
    row.metadata.as_ref().is_none_or(|metadata| metadata.is_finite())
}

pub fn parse_mode(text: &str) -> Result<MetricMode, String> {
    match text {
        "min" => Ok(MetricMode::Min),
        "max" => Ok(MetricMode::Max),
        _ => Err("write min if lower is better, or max".to_owned()),
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a whole number above 0"));
        match text.split_once('=') {
            None if text == "links" => Ok(Self::Links),
            Some(("last", count)) => Ok(Self::Last(number(count)?)),
            Some(("best", best)) => {
                let (best, mode) = match best.rsplit_once(':') {
                    Some((before, mode)) if parse_mode(mode).is_ok() => (before, parse_mode(mode).ok()),
                    _ => (best, None),
                };
                let split = best.rsplit_once(':').filter(|(metric, _)| !metric.is_empty());
                let (metric, count) =
                    split.ok_or("write best=METRIC:N, for example best=val_loss:3 or best=val_loss:3:min")?;
                Ok(Self::Best { metric: metric.to_owned(), count: number(count)?, mode })
            }
            _ => Err("the rules are last=N, best=METRIC:N and links".to_owned()),
        }
    }
}

impl Rule {
    /// Marks the checkpoints that stay. `rows` are complete checkpoints, oldest first. A state with several
    /// names counts once.
    pub fn mark(&self, rows: &[&Row], mode: Option<MetricMode>, stays: &mut [bool]) -> Result<(), Failure> {
        let mut firsts: Vec<usize> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            if !firsts.iter().any(|first| state(rows[*first]) == state(row)) {
                firsts.push(place);
            }
        }
        let finite: Vec<usize> = firsts.iter().copied().filter(|place| is_finite(rows[*place])).collect();
        // As a run keeps them: a state that is not finite is never the best, and takes no finite one's place
        // among the newest.
        if !finite.is_empty() || matches!(self, Self::Best { .. }) {
            firsts = finite;
        }
        let candidates = |score: &dyn Fn(&Metadata) -> f64| -> Vec<Candidate> {
            let scores = firsts.iter().map(|place| rows[*place].metadata.as_ref().map_or(f64::NAN, score));
            (0..).zip(scores).map(|(order, score)| Candidate::new(score, order)).collect()
        };
        let kept = match self {
            Self::Links => Vec::new(),
            Self::Last(count) => KeepRule::Newest(TopK::Count(count.get())).kept(&candidates(&|_| f64::NAN)),
            Self::Best { metric, count, mode: own } => {
                let metadata = || rows.iter().filter_map(|row| row.metadata.as_ref());
                if !metadata().any(|metadata| metadata.metrics.contains_key(metric)) {
                    return Err(unknown_metric(
                        metric,
                        metadata().flat_map(|metadata| metadata.metrics.keys()),
                    ));
                }
                let asked = own.or(mode);
                let stated = mode_of_run(rows, metric).or_else(|| mode_of_best_link(rows, metric, asked));
                let mode = choose_mode(metric, asked, stated)?;
                let score = |metadata: &Metadata| metadata.metrics.get(metric).copied().unwrap_or(f64::NAN);
                KeepRule::Best(mode, TopK::Count(count.get())).kept(&candidates(&score))
            }
        };
        kept.into_iter().for_each(|candidate| stays[firsts[candidate]] = true);
        Ok(())
    }
}

/// In which direction a metric is better, as the run states it: as `burn-ckpt runs` finds it, and in the
/// configurations of its older checkpoints.
fn mode_of_run(rows: &[&Row], metric: &str) -> Option<MetricMode> {
    let newest = rows.iter().rfind(|row| row.metadata.is_some())?;
    let config = &newest.metadata.as_ref()?.trainer_config;
    // What cannot be read of it says nothing, and is found damaged before anything is removed.
    let state = Checkpoint::open(&newest.path).and_then(|checkpoint| checkpoint.trainer_state());
    let mut older = rows.iter().rev().filter_map(|row| row.metadata.as_ref());
    let state = state.unwrap_or_default();
    ranking_mode(rows, config, &state, metric)
        .or_else(|| older.find_map(|metadata| configured_mode(&metadata.trainer_config, metric)))
}

/// The mode that the user gave, or else that of the run.
pub fn choose_mode(
    metric: &str,
    asked: Option<MetricMode>,
    configured: Option<MetricMode>,
) -> Result<MetricMode, Failure> {
    match (asked, configured) {
        (Some(asked), Some(configured)) if asked != configured => {
            let better = if configured == MetricMode::Min { "lower" } else { "higher" };
            Err(Failure::Usage(format!("in this run, {better} {metric} is better; leave out the other mode")))
        }
        (Some(mode), _) | (None, Some(mode)) => Ok(mode),
        (None, None) => Err(Failure::Usage(format!(
            "the run does not say whether lower or higher {metric} is better: add --mode min or --mode max"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed() {
        let two = NonZeroUsize::new(2).unwrap();
        assert_eq!("last=2".parse(), Ok(Rule::Last(two)));
        let best = |mode| Ok(Rule::Best { metric: "val_loss".to_owned(), count: two, mode });
        assert_eq!("best=val_loss:2".parse(), best(None));
        assert_eq!("best=val_loss:2:max".parse(), best(Some(MetricMode::Max)));
        assert_eq!("links".parse(), Ok(Rule::Links));
        for wrong in [
            "",
            "last",
            "last=0",
            "last=-1",
            "last=x",
            "best=3",
            "best=:3",
            "best=a:0",
            "best=a:min",
            "links=1",
            "all",
        ] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong:?}");
        }
    }
}
