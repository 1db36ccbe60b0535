//! The checkpoints of one strategy, and which of them its rule chooses from.
//!
//! A state that is not finite is never the best one. Among the newest it counts only while there is no finite
//! one. So it never takes the place of a state that a run can resume from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::retention::{Candidate, KeepRule, TopK};

/// One checkpoint as a strategy ranks it: see the [rules](crate::retention).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SavedCheckpoint {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// The number of optimizer steps done.
    pub step: u64,
    /// The score that the strategy ranks it by; NaN where it has none.
    pub score: f64,
    /// Whether all its parameters, and the optimizer's state, are finite, as far as that is known.
    pub is_finite: bool,
}

impl SavedCheckpoint {
    /// A checkpoint of a finite state; the score is NaN where the strategy has none.
    #[must_use]
    pub fn new(path: PathBuf, step: u64, score: f64) -> Self {
        Self { path, step, score, is_finite: true }
    }

    /// Sets whether all its parameters, and the optimizer's state, are finite.
    #[must_use]
    pub fn with_finite(mut self, is_finite: bool) -> Self {
        self.is_finite = is_finite;
        self
    }
}

/// The rule of a strategy, and its checkpoints.
#[derive(Debug)]
pub(super) struct RankedCheckpoints {
    pub(super) keep: KeepRule,
    pub(super) link: Option<PathBuf>,
    /// Only states from this order on move the link.
    pub(super) link_is_held_before: u64,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) saved: SavedCheckpoint,
    pub(super) order: u64,
    pub(super) durable: bool,
}

impl RankedCheckpoints {
    /// The durable checkpoints.
    pub(super) fn durable(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.durable)
    }

    /// Those that the rule chooses from, and that are durable or not verified yet.
    pub(super) fn durable_or(&self, is_unverified: impl Fn(&Path) -> bool) -> Vec<&Entry> {
        let is_among = |entry: &&Entry| entry.durable || is_unverified(&entry.saved.path);
        self.eligible(self.entries.iter().filter(is_among).collect())
    }

    /// The finite ones of these. Where the newest are kept and none is finite, all.
    fn eligible<'a>(&self, entries: Vec<&'a Entry>) -> Vec<&'a Entry> {
        let finite: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.saved.is_finite).collect();
        match self.keep {
            KeepRule::Newest(_) if finite.is_empty() => entries,
            _ => finite,
        }
    }

    /// The one that the rule ranks first.
    pub(super) fn first_of<'a>(&self, entries: &[&'a Entry]) -> Option<&'a Entry> {
        entries.iter().copied().min_by(|a, b| self.keep.order(&a.candidate(), &b.candidate()))
    }

    /// The durable checkpoints that the rule chooses from. Where it keeps a number of the newest, there is
    /// one of each optimizer step: a run that fails again and again at one step would otherwise push out all
    /// others.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let durable = self.eligible(self.durable().collect());
        if !matches!(self.keep, KeepRule::Newest(TopK::Count(_))) {
            return durable.into_iter().map(Entry::candidate).collect();
        }
        let mut newest: HashMap<u64, u64> = HashMap::new();
        for entry in &durable {
            let order = newest.entry(entry.saved.step).or_insert(entry.order);
            *order = entry.order.max(*order);
        }
        let is_newest = |entry: &&Entry| newest.get(&entry.saved.step) == Some(&entry.order);
        durable.into_iter().filter(is_newest).map(Entry::candidate).collect()
    }

    /// Whether a new state, which may be finite, would stay beside these.
    pub(super) fn would_keep<'a>(&self, present: impl Iterator<Item = &'a Entry>, new: Candidate) -> bool {
        let finite = present.filter(|entry| entry.saved.is_finite);
        let present: Vec<Candidate> = finite.map(Entry::candidate).collect();
        self.keep.would_keep(&present, new)
    }
}

impl Entry {
    pub(super) fn candidate(&self) -> Candidate {
        Candidate { score: self.saved.score, order: self.order }
    }
}
