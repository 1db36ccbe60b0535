//! The ratios that must hold between figures of one run, and their bounds.

use std::fmt;

use super::case::Case;
use super::contender::{Contender, Phase, STEPS_BETWEEN_FREQUENT_SAVES};
use super::contenders::loading::{SAFETENSORS, SAFETENSORS_VERIFIED, UNVERIFIED, VERIFIED};
use super::contenders::loop_without_saves::{BURNS, DIGITS, OURS, SMALL};
use super::contenders::machine_limits::{SHA256, WRITE};
use super::measurement::{Measurement, median};
use super::results::Results;

/// Upper bound of the save call of 1.26 GB in 100 tensors, in seconds.
const CALL: f64 = 1e-3;
/// The case that this bound is for.
const CALL_CASE: &str = "1.26GB/100";

/// Smaller states have no bounds: names, metadata and directories cost more than their bytes.
pub const SMALLEST: u64 = 90_000_000;

/// A ratio and its bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// What is compared, in words.
    pub what: String,
    /// The case, where it is of one.
    pub case: String,
    /// The figure; NaN where noise is more than what is compared.
    pub figure: f64,
    /// Its bound.
    pub bound: Bound,
}

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Ratio {
    /// Whether the figure is within its bound.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.figure <= bound,
            Bound::AtLeast(bound) => self.figure >= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
        }
    }
}

/// All ratios that follow from what was measured.
#[must_use]
pub fn ratios(results: &Results) -> Vec<Ratio> {
    let mut ratios: Vec<Ratio> = results.cases().flat_map(|case| of_case(results, case)).collect();
    ratios.extend(results.loops().map(of_loops).unwrap_or_default());
    ratios
}

fn of_case(results: &Results, case: &Case) -> Vec<Ratio> {
    use Contender::{Burn, BurnSteady, Lightning, Limits, Ours, OursReplace, OursSkip, OursSteady};

    if case.state_bytes() < SMALLEST {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |what: &str, figure: Option<f64>, bound: Bound| {
        if let Some(figure) = figure {
            found.push(Ratio { what: what.to_owned(), case: case.name.clone(), figure, bound });
        }
    };
    let ours = results.cost(case, Ours);
    let limit = |name| results.time(case, Limits, Phase::Train, name);
    let steady = |contender| results.of(case, contender, Phase::Train).and_then(|measured| measured.steady);
    let loaded = |name| results.time(case, Ours, Phase::Load, name);
    let lost = |contender| results.cost(case, contender).map(|cost| (cost.lost, cost.step));

    if case.name == CALL_CASE {
        add("save call, ms", ours.map(|cost| cost.call * 1e3), Bound::AtMost(CALL * 1e3));
    }
    let share = ours.map(|cost| cost.lost / cost.durable);
    add("loop time lost / time in the background", share, Bound::AtMost(0.02));
    let what = "loop time lost: Lightning's / ours";
    add(what, times_ours(lost(Lightning), lost(Ours)), Bound::AtLeast(50.0));
    let what = "loop time lost: burn's / ours";
    add(what, times_ours(lost(Burn), lost(Ours)), Bound::AtLeast(10.0));
    let every = |contender| steady(contender).map(|steady| (steady.lost, steady.step));
    for (ours, policy) in [(OursSteady, "waits"), (OursSkip, "skips saves"), (OursReplace, "replaces saves")]
    {
        let what = format!(
            "loop time lost, a save every {STEPS_BETWEEN_FREQUENT_SAVES} steps: burn's / ours, which {policy}"
        );
        add(&what, times_ours(every(BurnSteady), every(ours)), Bound::AtLeast(10.0));
    }
    let slowest = limit(WRITE).zip(limit(SHA256)).map(|(write, sha256)| write.max(sha256));
    let durable = divided(results.idle(case, Ours), slowest);
    add("until durable, idle loop / slower of write + fsync and SHA-256", durable, Bound::AtMost(1.25));
    let measured = results.of(case, Ours, Phase::Train);
    let state = case.state_bytes() as f64;
    let bytes = measured.and_then(|measured| measured.bytes).map(|bytes| bytes as f64 / state);
    add("file of best + last / state", bytes, Bound::AtMost(1.01));
    let written = measured.and_then(|measured| measured.written).map(|written| written as f64 / state);
    add("bytes written for best + last / state", written, Bound::AtMost(1.01));
    let verified = divided(loaded(VERIFIED), loaded(SAFETENSORS_VERIFIED));
    add("load, verified / safetensors (Rust) with BLAKE3", verified, Bound::AtMost(1.0));
    let unverified = divided(loaded(UNVERIFIED), loaded(SAFETENSORS));
    add("load, unverified / safetensors (Rust), mmap", unverified, Bound::AtMost(1.2));
    let peak = measured.and_then(|measured| measured.peak).map(|peak| peak as f64 / state);
    add("peak memory / state", peak, Bound::AtMost(2.7));
    found
}

fn of_loops(measured: &Measurement) -> Vec<Ratio> {
    let jobs = [DIGITS, SMALL].into_iter();
    jobs.filter_map(|job| {
        Some(Ratio {
            what: "step of the trainer / of burn's own loop, no saves".to_owned(),
            case: job.to_owned(),
            figure: turn_by_turn(
                measured.times.get(&format!("{job}{OURS}"))?,
                measured.times.get(&format!("{job}{BURNS}"))?,
            )?,
            bound: Bound::AtMost(1.01),
        })
    })
    .collect()
}

/// The median over the turns of what one took against the other, as they ran one after the other.
#[must_use]
pub fn turn_by_turn(ours: &[f64], others: &[f64]) -> Option<f64> {
    let turns: Vec<f64> = ours.iter().zip(others).map(|(ours, other)| ours / other).collect();
    median(&turns)
}

/// The loop time that another contender loses, divided by what ours loses; each comes with the length of a
/// step. Our loss counts as at least a thousandth of a step, because noise can make it 0. The ratio is NaN
/// where the other loss is not above 0.
fn times_ours(other: Option<(f64, f64)>, ours: Option<(f64, f64)>) -> Option<f64> {
    let ((other, _), (ours, step)) = (other?, ours?);
    Some(if other > 0.0 { other / ours.max(step * 1e-3) } else { f64::NAN })
}

fn divided(figure: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(figure? / by.filter(|by| *by > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::measurement::SaveTimes;
    use crate::checkpoint::results::ProcessResult;

    /// Steps of a second, and a save that holds the loop for so long.
    fn holding(seconds: f64) -> Measurement {
        let begins = (0..20).map(|step| f64::from(step) + if step > 8 { seconds } else { 0.0 }).collect();
        let asked = 8.9;
        let save = SaveTimes { asked, returned: asked + seconds, durable: asked + seconds + 2.0 };
        Measurement { begins, saves: vec![save], ..Measurement::default() }
    }

    fn results(measured: Vec<(Contender, Measurement)>) -> Results {
        let case: Case = "1.26GB/100".parse().unwrap();
        let mut results = Results::default();
        for (contender, measured) in measured {
            let (case, phase, outcome) = (case.clone(), Phase::Train, Ok(measured));
            results.add(ProcessResult { case, contender, phase, outcome });
        }
        results
    }

    fn figure(ratios: &[Ratio], what: &str) -> Option<f64> {
        ratios.iter().find(|ratio| ratio.what == what).map(|ratio| ratio.figure)
    }

    #[test]
    fn a_ratio_is_of_two_that_were_measured() {
        let ours = (Contender::Ours, holding(0.1));
        let both = ratios(&results(vec![ours.clone(), (Contender::Lightning, holding(5.0))]));
        let found = figure(&both, "loop time lost: Lightning's / ours").unwrap();
        assert!((found - 50.0).abs() < 1e-6, "{found}");
        let alone = ratios(&results(vec![ours]));
        assert_eq!(figure(&alone, "loop time lost: Lightning's / ours"), None);
        assert!(figure(&alone, "loop time lost / time in the background").is_some());
    }

    #[test]
    fn without_any_cost_the_ratio_is_still_finite() {
        let both = vec![(Contender::Ours, holding(0.0)), (Contender::Burn, holding(1.0))];
        let found = figure(&ratios(&results(both)), "loop time lost: burn's / ours").unwrap();
        assert!((found - 1000.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn of_another_that_loses_nothing_nothing_is_said() {
        let both = vec![(Contender::Ours, holding(0.1)), (Contender::Burn, holding(-0.1))];
        assert!(figure(&ratios(&results(both)), "loop time lost: burn's / ours").unwrap().is_nan());
    }

    #[test]
    fn a_bound_holds_up_to_itself() {
        let ratio = |figure, bound| Ratio { what: String::new(), case: String::new(), figure, bound };
        assert!(ratio(1.25, Bound::AtMost(1.25)).holds());
        assert!(!ratio(1.26, Bound::AtMost(1.25)).holds());
        assert!(ratio(50.0, Bound::AtLeast(50.0)).holds());
        assert!(!ratio(49.9, Bound::AtLeast(50.0)).holds());
        assert!(!ratio(f64::NAN, Bound::AtMost(1.0)).holds());
    }

    #[test]
    fn turns_are_compared_one_by_one() {
        // The machine became slower in the middle; the loops did not differ.
        assert_eq!(turn_by_turn(&[1.0, 2.0, 4.0], &[1.0, 2.0, 4.0]), Some(1.0));
        assert_eq!(turn_by_turn(&[], &[]), None);
    }
}
