//! Which checkpoints stay in a mirror, by rules of its own: each ranks the states in one directory, which is
//! one strategy's, or those of all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::mirror::commit_object::{MirroredCheckpoint, newest_finite};
use crate::retention::{Candidate, KeepRule, MetricMode, TopK};

/// Which checkpoints stay in a mirror. Those of several rules stay together. A state that stays does so under
/// each of its names that the rule is for. The newest complete checkpoint, the newest finite one, and those
/// that links name always stay.
///
/// ```
/// use burn_ckpt::mirror::MirrorKeep;
/// use burn_ckpt::retention::MetricMode;
///
/// // Of all checkpoints.
/// let keep = MirrorKeep::last(2).and_best("val_loss", MetricMode::Min, 1);
/// // As on disk, where each strategy has its directory. What is in others stays, whatever else is said.
/// let keep = MirrorKeep::all().and_newest_in("last", 2).and_best_in("best", "val_loss", MetricMode::Min, 3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorKeep {
    /// What is in a directory without a rule of its own stays.
    keeps_rest: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    /// `None` for all directories.
    directory: Option<String>,
    keep: KeepRule,
    /// What the best ones are ranked by.
    metric: Option<String>,
}

impl MirrorKeep {
    /// Everything, but in the directories for which a rule follows: there, what the rules keep.
    #[must_use]
    pub fn all() -> Self {
        Self { keeps_rest: true, rules: Vec::new() }
    }

    /// The newest states, in whatever directories they are.
    pub fn last(count: impl Into<TopK>) -> Self {
        let keep = KeepRule::Newest(count.into());
        Self { keeps_rest: false, rules: vec![Rule { directory: None, keep, metric: None }] }
    }

    /// And the states with the best values of a metric, in whatever directories they are.
    #[must_use]
    pub fn and_best(mut self, metric: impl Into<String>, mode: MetricMode, count: impl Into<TopK>) -> Self {
        let (keep, metric) = (KeepRule::Best(mode, count.into()), Some(metric.into()));
        self.rules.push(Rule { directory: None, keep, metric });
        self
    }

    /// And of a directory, which is named relative to the run's `checkpoint` directory, the newest states.
    #[must_use]
    pub fn and_newest_in(mut self, directory: impl Into<String>, count: impl Into<TopK>) -> Self {
        let (directory, keep) = (Some(directory.into()), KeepRule::Newest(count.into()));
        self.rules.push(Rule { directory, keep, metric: None });
        self
    }

    /// And of a directory, which is named relative to the run's `checkpoint` directory, the states with the
    /// best values of a metric.
    #[must_use]
    pub fn and_best_in(
        mut self,
        directory: impl Into<String>,
        metric: impl Into<String>,
        mode: MetricMode,
        count: impl Into<TopK>,
    ) -> Self {
        let (directory, keep) = (Some(directory.into()), KeepRule::Best(mode, count.into()));
        self.rules.push(Rule { directory, keep, metric: Some(metric.into()) });
        self
    }

    /// The names of the checkpoints that do not stay, and that no link names; of checkpoints in the order in
    /// which their states were saved.
    pub(super) fn others(&self, checkpoints: &[MirroredCheckpoint], linked: &[&str]) -> Vec<String> {
        let always = checkpoints.last().into_iter().chain(newest_finite(checkpoints));
        let mut stay: BTreeSet<&str> = always.map(|checkpoint| checkpoint.name.as_str()).collect();
        stay.extend(linked);
        for rule in &self.rules {
            stay.extend(rule.kept(checkpoints));
        }
        let of_directories = || self.rules.iter().filter(|rule| rule.directory.is_some());
        let is_ranked = |checkpoint: &&MirroredCheckpoint| {
            !self.keeps_rest || of_directories().any(|rule| rule.is_for(checkpoint))
        };
        let ranked = checkpoints.iter().filter(is_ranked);
        let others = ranked.filter(|checkpoint| !stay.contains(checkpoint.name.as_str()));
        others.map(|checkpoint| checkpoint.name.clone()).collect()
    }
}

impl Rule {
    fn is_for(&self, checkpoint: &MirroredCheckpoint) -> bool {
        let parent = checkpoint.name.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.directory.as_ref().is_none_or(|directory| directory == parent)
    }

    /// The names of those that stay.
    fn kept<'a>(&self, checkpoints: &'a [MirroredCheckpoint]) -> Vec<&'a str> {
        let there: Vec<&MirroredCheckpoint> =
            checkpoints.iter().filter(|checkpoint| self.is_for(checkpoint)).collect();
        let states = self.states(&there);
        let score = |checkpoint: &MirroredCheckpoint| {
            let value = self.metric.as_ref().and_then(|metric| checkpoint.metrics.get(metric));
            value.copied().unwrap_or(f64::NAN)
        };
        let candidates: Vec<Candidate> =
            (0..).zip(&states).map(|(order, checkpoint)| Candidate::new(score(checkpoint), order)).collect();
        let kept = self.keep.kept(&candidates).into_iter().map(|place| state(states[place]));
        let kept: BTreeSet<(Timestamp, u64)> = kept.collect();
        let names = there.into_iter().filter(|checkpoint| kept.contains(&state(checkpoint)));
        names.map(|checkpoint| checkpoint.name.as_str()).collect()
    }

    /// One checkpoint of each state that the rule chooses from. They are the same as on disk: finite ones;
    /// where a number of the newest stay, one of each optimizer step, and all if none is finite.
    fn states<'a>(&self, there: &[&'a MirroredCheckpoint]) -> Vec<&'a MirroredCheckpoint> {
        let finite = there.iter().copied().filter(|checkpoint| !checkpoint.non_finite);
        let mut states: Vec<&MirroredCheckpoint> = match &self.metric {
            Some(metric) => finite.filter(|checkpoint| checkpoint.metrics.contains_key(metric)).collect(),
            None => finite.collect(),
        };
        if states.is_empty() && self.metric.is_none() {
            states = there.to_vec();
        }
        states.dedup_by_key(|checkpoint| state(checkpoint));
        if matches!(self.keep, KeepRule::Newest(TopK::Count(_))) {
            let newest: BTreeMap<u64, (Timestamp, u64)> =
                states.iter().map(|checkpoint| (checkpoint.global_step, state(checkpoint))).collect();
            states.retain(|checkpoint| newest[&checkpoint.global_step] == state(checkpoint));
        }
        states
    }
}

/// What the names of one state have in common.
fn state(checkpoint: &MirroredCheckpoint) -> (Timestamp, u64) {
    (checkpoint.checkpoint_timestamp, checkpoint.global_step)
}
