//! From the runs of a contender to its figures.

use crate::measure::stopwatch::{SaveCost, Span};
use crate::measure::timing::median;

use super::contender::Contender;

/// The runs of one contender.
#[derive(Debug)]
pub struct ContenderRuns {
    /// The contender.
    pub contender: Contender,
    /// One run for each round.
    pub runs: Vec<Run>,
    /// Why there are no more runs.
    pub failed: Option<String>,
}

/// What one run measured.
#[derive(Debug)]
pub struct Run {
    /// Steps without a save.
    pub span: Span,
    /// What its saves cost, or why that cannot be said.
    pub cost: Result<SaveCost, String>,
}

/// How long steps took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// How many.
    pub count: usize,
    /// The middle one.
    pub median: f64,
    /// A tenth took less.
    pub low: f64,
    /// A tenth took longer.
    pub high: f64,
    /// The longest.
    pub longest: f64,
    /// Steps per second over all steps: a step that stalls lowers it.
    pub per_second: f64,
}

/// What saves cost, in seconds: medians over the runs of what they are in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saves {
    /// How many.
    pub count: usize,
    /// An undisturbed step between them.
    pub step: f64,
    /// How much longer a save made the loop.
    pub lost: f64,
    /// Until the file had its final name.
    pub durable: f64,
    /// Size of a file.
    pub bytes: u64,
}

impl ContenderRuns {
    /// A contender that has not run yet.
    #[must_use]
    pub fn none_yet(contender: Contender) -> Self {
        Self { contender, runs: Vec::new(), failed: None }
    }

    /// The steps without a save.
    #[must_use]
    pub fn steps(&self) -> Option<Steps> {
        let mut steps: Vec<f64> =
            self.spans().flat_map(|span| &span.steps).map(|it| it.as_secs_f64()).collect();
        steps.sort_by(f64::total_cmp);
        let at = |tenths: usize| steps.get(tenths * (steps.len() - 1) / 10).copied();
        Some(Steps {
            count: steps.len(),
            median: median(&steps)?,
            low: at(1)?,
            high: at(9)?,
            longest: *steps.last()?,
            per_second: steps.len() as f64 / steps.iter().sum::<f64>(),
        })
    }

    /// Bytes over the loopback interface in a step, less those that cross it while nothing trains.
    #[must_use]
    pub fn loopback_bytes_per_step(&self, idle_per_second: f64) -> Option<f64> {
        let steps = self.steps()?;
        let bytes: Option<u64> = self.spans().map(|span| span.loopback_bytes).sum();
        Some(bytes? as f64 / steps.count as f64 - idle_per_second / steps.per_second)
    }

    /// The share of all processors that was busy in those steps.
    #[must_use]
    pub fn busy(&self) -> Option<f64> {
        let busy: Option<Vec<f64>> = self.spans().map(|span| span.busy).collect();
        median(&busy?)
    }

    /// What saves cost.
    #[must_use]
    pub fn saves(&self) -> Option<Saves> {
        let costs: Vec<&SaveCost> = self.runs.iter().filter_map(|run| run.cost.as_ref().ok()).collect();
        let of =
            |part: fn(&SaveCost) -> f64| median(&costs.iter().map(|cost| part(cost)).collect::<Vec<_>>());
        Some(Saves {
            count: costs.iter().map(|cost| cost.times.saves).sum(),
            step: of(|cost| cost.times.step)?,
            lost: of(|cost| cost.times.lost)?,
            durable: of(|cost| cost.times.durable)?,
            bytes: costs.last()?.bytes,
        })
    }

    /// What went wrong.
    pub fn troubles(&self) -> impl Iterator<Item = &str> {
        let costs = self.runs.iter().filter_map(|run| run.cost.as_ref().err());
        costs.chain(&self.failed).map(String::as_str)
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.runs.iter().map(|run| &run.span)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::save_cost::Cost;

    fn run(milliseconds: &[u64], loopback_bytes: u64, lost: f64) -> Run {
        let steps = milliseconds.iter().copied().map(Duration::from_millis).collect();
        let times = Cost {
            saves: 2,
            step: 0.1,
            call: 0.0,
            lost,
            durable: 0.3,
            step_of_save: None,
            step_beside: None,
            step_after_first: None,
            step_after_later: None,
        };
        let cost = SaveCost { times, bytes: 12 };
        Run { span: Span { steps, loopback_bytes: Some(loopback_bytes), busy: Some(0.5) }, cost: Ok(cost) }
    }

    fn measured(runs: Vec<Run>) -> ContenderRuns {
        ContenderRuns { contender: Contender::Websocket, runs, failed: None }
    }

    #[test]
    fn steps_are_those_of_all_runs() {
        let measured = measured(vec![run(&[100, 100, 200], 0, 0.0), run(&[100, 500], 0, 0.0)]);
        let steps = measured.steps().unwrap();
        assert_eq!((steps.count, steps.median, steps.low), (5, 0.1, 0.1));
        assert_eq!((steps.high, steps.longest), (0.2, 0.5));
        assert!((steps.per_second - 5.0).abs() < 1e-9, "{steps:?}");
    }

    #[test]
    fn bytes_that_cross_anyway_are_subtracted() {
        // 8000 bytes in 4 steps of 0.25 seconds, 400 of which would have crossed in that second anyway.
        let measured = measured(vec![run(&[250, 250], 3000, 0.0), run(&[250, 250], 5000, 0.0)]);
        assert!((measured.loopback_bytes_per_step(400.0).unwrap() - 1900.0).abs() < 1e-9);
    }

    #[test]
    fn what_a_save_costs_is_the_median_over_the_runs() {
        let measured = measured(vec![run(&[100], 0, 0.9), run(&[100], 0, 0.1), run(&[100], 0, 0.2)]);
        let saves = measured.saves().unwrap();
        assert_eq!((saves.count, saves.lost, saves.bytes), (6, 0.2, 12));
    }

    #[test]
    fn what_did_not_run_has_no_figures_and_says_why() {
        let measured = ContenderRuns { failed: Some("no server".to_owned()), ..measured(Vec::new()) };
        assert_eq!((measured.steps(), measured.saves(), measured.busy()), (None, None, None));
        assert_eq!(measured.troubles().collect::<Vec<_>>(), ["no server"]);
    }
}
