//! What to keep: a pure function from scored checkpoints to those that stay.
//!
//! The training loop decides whether to save. What stays is decided here, after the newer checkpoint is
//! durable.

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether lower or higher scores are better. See the [module's example](crate::retention).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricMode {
    /// Lower is better (a loss).
    Min,
    /// Higher is better (an accuracy).
    Max,
}

/// How many checkpoints a strategy keeps. In JSON a number above 0, or `"all"`. See the [module's
/// example](crate::retention).
///
/// There will be no other kind of count: a rule of another kind is a [`KeepRule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopK {
    /// That many; 0 cannot be configured, and keeps one.
    Count(usize),
    /// Every one.
    All,
}

/// The rule by which a strategy's checkpoints are ranked, and how many of them stay. See the
/// [module's example](crate::retention).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepRule {
    /// The newest ones.
    Newest(TopK),
    /// Those with the best scores. Of equal scores the earlier one ranks higher. A score of NaN ranks below
    /// every number, and one such checkpoint is kept only while there is no other.
    Best(MetricMode, TopK),
}

/// The facts about a checkpoint that rules use. See the [module's example](crate::retention).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The score that it is ranked by; NaN where it has none.
    pub score: f64,
    /// Position in time: a later checkpoint has a larger number.
    pub order: u64,
}

impl Candidate {
    /// A checkpoint with a score and its position in time.
    #[must_use]
    pub fn new(score: f64, order: u64) -> Self {
        Self { score, order }
    }
}

impl TopK {
    /// Whether the number is 0, which a configuration must not have.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::Count(0)
    }

    fn limit(self) -> usize {
        match self {
            Self::Count(count) => count.max(1),
            Self::All => usize::MAX,
        }
    }
}

/// That many.
impl From<usize> for TopK {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl KeepRule {
    /// The positions of the candidates that stay, best (or newest) first. At least one stays unless the list
    /// is empty.
    #[must_use]
    pub fn kept(self, candidates: &[Candidate]) -> Vec<usize> {
        let mut ranked: Vec<usize> = (0..candidates.len()).collect();
        ranked.sort_by(|&a, &b| self.order(&candidates[a], &candidates[b]));
        match self {
            Self::Newest(topk) => ranked.truncate(topk.limit()),
            Self::Best(_, topk) => {
                let numbers = ranked.iter().take_while(|&&i| !candidates[i].score.is_nan()).count();
                ranked.truncate(topk.limit().min(numbers.max(1)));
            }
        }
        ranked
    }

    /// Whether the rule ranks one checkpoint higher than another.
    pub(crate) fn ranks_before(self, one: &Candidate, other: &Candidate) -> bool {
        self.order(one, other) == Ordering::Less
    }

    pub(crate) fn order(self, a: &Candidate, b: &Candidate) -> Ordering {
        match self {
            Self::Newest(_) => b.order.cmp(&a.order),
            Self::Best(mode, _) => better_first(mode, a, b),
        }
    }

    /// Whether a new checkpoint would stay beside the present ones.
    #[must_use]
    pub fn would_keep(self, present: &[Candidate], new: Candidate) -> bool {
        let before = present.iter().filter(|present| self.order(present, &new) != Ordering::Greater).count();
        match self {
            Self::Newest(topk) => before < topk.limit(),
            Self::Best(_, topk) => {
                let numbers = present.iter().chain([&new]).filter(|one| !one.score.is_nan()).count();
                before < topk.limit().min(numbers.max(1))
            }
        }
    }
}

fn better_first(mode: MetricMode, a: &Candidate, b: &Candidate) -> Ordering {
    let by_score = match (a.score.is_nan(), b.score.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        // Not total_cmp: -0.0 and 0.0 are a tie.
        (false, false) => match mode {
            MetricMode::Min => a.score.partial_cmp(&b.score),
            MetricMode::Max => b.score.partial_cmp(&a.score),
        }
        .unwrap_or(Ordering::Equal),
    };
    by_score.then(a.order.cmp(&b.order))
}

impl Serialize for TopK {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => to.serialize_u64(*count as u64),
            Self::All => to.serialize_str("all"),
        }
    }
}

impl<'de> Deserialize<'de> for TopK {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Count(usize),
            Word(String),
        }
        let wrong = || serde::de::Error::custom("topk must be a whole number above 0, or \"all\"");
        match Given::deserialize(from).map_err(|_| wrong())? {
            Given::Count(count) if count > 0 => Ok(Self::Count(count)),
            Given::Word(word) if word == "all" => Ok(Self::All),
            Given::Count(_) | Given::Word(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(keep: KeepRule, scores: &[f64]) -> Vec<usize> {
        let candidates: Vec<Candidate> =
            (0..).zip(scores).map(|(order, &score)| Candidate::new(score, order)).collect();
        keep.kept(&candidates)
    }

    fn best(mode: MetricMode, k: usize) -> KeepRule {
        KeepRule::Best(mode, k.into())
    }

    #[test]
    fn the_best_stay_in_order() {
        assert_eq!(kept(best(MetricMode::Min, 2), &[3.0, 1.0, 2.0]), [1, 2]);
        assert_eq!(kept(best(MetricMode::Max, 2), &[3.0, 1.0, 2.0]), [0, 2]);
    }

    #[test]
    fn ties_keep_the_earlier() {
        assert_eq!(kept(best(MetricMode::Min, 1), &[1.0, 1.0]), [0]);
        assert_eq!(kept(best(MetricMode::Max, 2), &[0.0, -0.0, 0.0]), [0, 1]);
    }

    #[test]
    fn nan_stays_only_while_there_is_nothing_else() {
        let nan = f64::NAN;
        assert_eq!(kept(best(MetricMode::Min, 3), &[nan]), [0]);
        assert_eq!(kept(best(MetricMode::Min, 3), &[nan, nan]), [0]);
        assert_eq!(kept(best(MetricMode::Max, 3), &[nan, 1.0, nan, 2.0]), [3, 1]);
        assert_eq!(kept(best(MetricMode::Min, 3), &[nan, f64::INFINITY]), [1]);
        assert_eq!(kept(KeepRule::Best(MetricMode::Min, TopK::All), &[nan, 1.0, 2.0]), [1, 2]);
    }

    #[test]
    fn the_newest_stay() {
        assert_eq!(kept(KeepRule::Newest(TopK::Count(2)), &[0.0; 4]), [3, 2]);
        assert_eq!(kept(KeepRule::Newest(TopK::All), &[0.0; 3]).len(), 3);
    }

    #[test]
    fn a_new_one_would_stay_if_it_is_among_those_that_stay() {
        let scores = [1.0, f64::NAN, 0.5, 1.0, -0.0, 0.0, f64::INFINITY, 0.5, f64::NAN];
        let mode = [MetricMode::Min, MetricMode::Max];
        let topks = [TopK::Count(1), TopK::Count(3), TopK::All];
        let best = mode.iter().flat_map(|mode| topks.map(|topk| KeepRule::Best(*mode, topk)));
        for rule in best.chain(topks.map(KeepRule::Newest)) {
            for count in 0..scores.len() {
                for new in scores {
                    let mut all: Vec<Candidate> = (0..)
                        .zip(&scores[..count])
                        .map(|(order, score)| Candidate::new(*score, order))
                        .collect();
                    let new = Candidate::new(new, count as u64);
                    let would = rule.would_keep(&all, new);
                    all.push(new);
                    assert_eq!(would, rule.kept(&all).contains(&count), "{rule:?} {all:?}");
                }
            }
        }
    }

    #[test]
    fn topk_is_a_positive_number_or_all() {
        for (text, expected) in
            [("3", Some(TopK::Count(3))), ("\"all\"", Some(TopK::All)), ("0", None), ("-1", None)]
        {
            assert_eq!(serde_json::from_str::<TopK>(text).ok(), expected, "{text}");
        }
        assert!(serde_json::from_str::<TopK>("\"some\"").unwrap_err().to_string().contains("\"all\""));
        assert_eq!(serde_json::to_string(&TopK::All).unwrap(), "\"all\"");
    }
}
