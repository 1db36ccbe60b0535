//! Retention, against a model of it that is too simple to be wrong, over thousands of random histories.

use burn_ckpt::retention::{Candidate, KeepRule, MetricMode, TopK};
use proptest::prelude::*;

/// Goes through the history one by one, and drops the worst whenever there are too many.
fn naive(scores: &[f64], mode: MetricMode, k: usize) -> Vec<usize> {
    let beats = |a: f64, b: f64| match mode {
        _ if b.is_nan() => !a.is_nan(),
        MetricMode::Min => a < b,
        MetricMode::Max => a > b,
    };
    let mut kept: Vec<usize> = Vec::new();
    for (new, &score) in scores.iter().enumerate() {
        // In front of the first that it beats; after all others, so that an equal earlier one is preferred.
        let place = kept.iter().position(|&old| beats(score, scores[old])).unwrap_or(kept.len());
        kept.insert(place, new);
        while kept.len() > k || (kept.len() > 1 && kept.last().is_some_and(|&worst| scores[worst].is_nan())) {
            kept.pop();
        }
    }
    kept
}

/// Numbers that often tie, and now and then are none.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-3i8..3).prop_map(f64::from),
        2 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
        2 => any::<f64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn retention_is_what_the_naive_model_says(
        scores in prop::collection::vec(score(), 1..30),
        max in any::<bool>(),
        k in 1usize..6,
    ) {
        let mode = if max { MetricMode::Max } else { MetricMode::Min };
        let keep = KeepRule::Best(mode, TopK::Count(k));
        // As the trainer does: asked before each save, applied after it.
        let mut held: Vec<Candidate> = Vec::new();
        for (order, &score) in (0u64..).zip(&scores) {
            let new = Candidate::new(score, order);
            if keep.would_keep(&held, new) {
                held.push(new);
                held = keep.kept(&held).into_iter().map(|i| held[i]).collect();
            }
        }
        let held: Vec<usize> = held.iter().map(|candidate| candidate.order as usize).collect();
        prop_assert_eq!(held, naive(&scores, mode, k));
    }

    #[test]
    fn of_the_newest_exactly_k_stay(count in 1usize..40, k in 1usize..10) {
        let candidates: Vec<Candidate> = (0..count as u64).map(|order| Candidate::new(f64::NAN, order)).collect();
        let kept = KeepRule::Newest(TopK::Count(k)).kept(&candidates);
        let expected: Vec<usize> = (0..count).rev().take(k).collect();
        prop_assert_eq!(kept, expected);
    }
}
