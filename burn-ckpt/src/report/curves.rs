//! The curves of a run: what it logged, as one series of points for each metric, with no more points than a
//! page draws.

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::error::Error;
use crate::metrics_log::{Line, LineSpeed, Lines, Scope, Split};

/// The most curves of a run that are read: a log can come from anywhere.
pub(super) const MAX_NAMES: usize = 10_000;

/// The points of one metric, in the order in which they were logged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Curve {
    /// The optimizer steps done when each was logged.
    pub(super) steps: Vec<u64>,
    /// The values, each of which can be NaN or infinite.
    pub(super) values: Vec<f64>,
    /// How many values the last step has.
    batches: u32,
}

/// What a curve is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CurveName {
    /// The metric, as the metadata names it.
    pub(super) metric: String,
    pub(super) split: Split,
    pub(super) scope: Scope,
}

/// What a run logged.
#[derive(Debug, Default)]
pub(super) struct Curves {
    pub(super) of: IndexMap<CurveName, Curve>,
    /// Seconds in which the run ran until each step.
    pub(super) clock: Curve,
    /// How fast it was, by names that no metric has.
    pub(super) speed: IndexMap<&'static str, Curve>,
    /// Whether the run has logged more than [`MAX_NAMES`] curves, and the later ones are missing.
    pub(super) is_cut: bool,
    /// Whether there are lines that the newest checkpoint does not count.
    pub(super) has_later: bool,
    /// Epochs of which the training is done.
    pub(super) epochs: u64,
    /// When the first line was logged.
    pub(super) first: Option<Timestamp>,
}

impl Curves {
    /// The curves of the lines of a log, and the last error of a line that cannot be read.
    ///
    /// `starts` are the times of the run's starts: the time between a stop and the next start does not count.
    /// The newest checkpoint counts `counted` bytes of the log.
    pub(super) fn of(mut lines: Lines, starts: &[Timestamp], counted: u64) -> (Self, Option<Error>) {
        let mut curves = Self::default();
        let mut clock = LogClock { starts, last: None, seconds: 0.0 };
        let mut problem = None;
        while let Some(line) = lines.next() {
            match line {
                Ok(line) => {
                    curves.has_later |= lines.position() > counted;
                    curves.add(line, &mut clock);
                }
                // A line that is invalid, after which others follow.
                Err(error) => problem = Some(error),
            }
        }
        (curves, problem)
    }

    /// The last step that was logged, and the seconds in which the run ran until then.
    pub(super) fn clock_end(&self) -> (u64, f64) {
        let end = self.clock.steps.last().zip(self.clock.values.last());
        end.map_or((0, 0.0), |(step, seconds)| (*step, *seconds))
    }

    fn add(&mut self, line: Line, clock: &mut LogClock<'_>) {
        if let Some(time) = line.time {
            self.first.get_or_insert(time);
            clock.advance(time);
            if self.clock.steps.last().is_none_or(|last| *last < line.step) {
                self.clock.push(line.step, clock.seconds);
            }
        }
        if line.scope == Scope::Epoch {
            self.epochs = line.epoch.saturating_add(1);
        }
        for (name, value) in line.speed.iter().flat_map(speed_values) {
            self.speed.entry(name).or_default().add(line.step, value);
        }
        for (metric, value) in line.metrics {
            let name = CurveName { metric, split: line.split, scope: line.scope };
            if self.of.len() < MAX_NAMES || self.of.contains_key(&name) {
                self.of.entry(name).or_default().add(line.step, value);
            } else {
                self.is_cut = true;
            }
        }
    }
}

/// The values of a line's speed, as the page names them.
fn speed_values(speed: &LineSpeed) -> impl Iterator<Item = (&'static str, f64)> {
    let values = [
        ("items/s", speed.items_per_second),
        ("steps/s", speed.steps_per_second),
        ("% of the time waiting for data", Some(100.0 * speed.data_share)),
        ("% of the time spent on saves", Some(100.0 * speed.save_share)),
        ("seconds of a save until it is durable", speed.save_seconds),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// Tells the seconds of training from the times in a log.
struct LogClock<'a> {
    starts: &'a [Timestamp],
    last: Option<Timestamp>,
    seconds: f64,
}

impl LogClock<'_> {
    fn advance(&mut self, now: Timestamp) {
        let last = self.last.or(self.starts.first().copied()).unwrap_or(now);
        let start = self.starts.iter().filter(|start| (last..=now).contains(*start)).max();
        let since = start.copied().unwrap_or(last);
        // A clock that was set back adds nothing.
        self.seconds += now.duration_since(since).as_secs_f64().max(0.0);
        self.last = Some(now);
    }
}

impl Curve {
    /// Adds a value. Those of one step are its batches (gradients are accumulated over several): their mean
    /// is that of the step.
    fn add(&mut self, step: u64, value: f64) {
        if self.steps.last() != Some(&step) {
            self.batches = 0;
            self.push(step, 0.0);
        }
        self.batches += 1;
        if let Some(mean) = self.values.last_mut() {
            *mean += (value - *mean) / f64::from(self.batches);
        }
    }

    /// How many of its values a logarithmic axis has no place for: finite ones that are not above 0.
    pub(super) fn without_logarithm(&self) -> usize {
        self.values.iter().filter(|value| value.is_finite() && **value <= 0.0).count()
    }

    pub(super) fn push(&mut self, step: u64, value: f64) {
        self.steps.push(step);
        self.values.push(value);
    }

    /// At most `limit` points, of at least 5: the first and the last, and of each stretch of neighbours the
    /// lowest and the highest, so that a spike of one batch stays, and the first that is not finite.
    pub(super) fn thinned(&self, limit: usize) -> Self {
        let count = self.values.len();
        if count <= limit {
            return self.clone();
        }
        let of_a_stretch = if self.values.iter().all(|value| value.is_finite()) { 2 } else { 3 };
        let stretches = (limit.saturating_sub(2) / of_a_stretch).max(1);
        let mut kept = vec![0, count - 1];
        for stretch in 0..stretches {
            let places = stretch * count / stretches..(stretch + 1) * count / stretches;
            kept.extend(places.clone().find(|place| !self.values[*place].is_finite()));
            kept.extend(
                [self.extreme(places.clone(), f64::lt), self.extreme(places, f64::gt)].iter().flatten(),
            );
        }
        kept.sort_unstable();
        kept.dedup();
        let mut thinned = Self::default();
        kept.into_iter().for_each(|place| thinned.push(self.steps[place], self.values[place]));
        thinned
    }

    /// The first place whose value no other finite one of these places surpasses.
    fn extreme(&self, places: std::ops::Range<usize>, surpasses: fn(&f64, &f64) -> bool) -> Option<usize> {
        let finite = places.filter(|place| self.values[*place].is_finite());
        finite.reduce(
            |best, place| {
                if surpasses(&self.values[place], &self.values[best]) { place } else { best }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Curve {
        let mut curve = Curve::default();
        values.into_iter().enumerate().for_each(|(step, value)| curve.push(step as u64, value));
        curve
    }

    #[test]
    fn a_short_curve_stays_as_it_is() {
        let short = curve([3.0, 1.0, 2.0]);
        assert_eq!(short.thinned(3), short);
    }

    #[test]
    fn a_spike_and_a_nan_stay_in_a_thinned_curve() {
        let mut values: Vec<f64> = (0..100_000).map(|step| f64::from(step).sin()).collect();
        values[54_321] = 100.0;
        values[70_000] = f64::NAN;
        let thinned = curve(values).thinned(500);
        assert!(thinned.values.len() <= 500, "{} points", thinned.values.len());
        assert!(thinned.values.contains(&100.0) && thinned.values.iter().any(|value| value.is_nan()));
        assert_eq!(thinned.steps[thinned.values.iter().position(|value| *value == 100.0).unwrap()], 54_321);
        assert!(thinned.steps.is_sorted());
    }

    #[test]
    fn a_value_that_is_not_finite_hides_none_of_its_neighbours() {
        // One in each thousand batches, as where a loss is scaled.
        let value = |step: u32| if step % 1000 == 7 { f64::INFINITY } else { f64::from(step).sin() };
        let thinned = curve((0..100_000).map(value)).thinned(100);
        assert!(thinned.values.len() <= 100, "{} points", thinned.values.len());
        let finite: Vec<f64> = thinned.values.iter().copied().filter(|value| value.is_finite()).collect();
        assert!(finite.len() > 60 && finite.iter().any(|value| *value > 0.999), "{finite:?}");
        assert!(finite.iter().any(|value| *value < -0.999), "{finite:?}");
        assert!(finite.len() < thinned.values.len());
    }

    #[test]
    fn the_first_and_the_last_value_are_drawn() {
        // Neither is the lowest or the highest of its stretch.
        let thinned = curve((0..10_001).map(|step| f64::from(step).cos() * 2.0 - 0.5)).thinned(100);
        assert_eq!((thinned.steps[0], *thinned.steps.last().unwrap()), (0, 10_000));
        assert!(thinned.values.len() <= 100, "{} points", thinned.values.len());
    }
}
