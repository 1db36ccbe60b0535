//! What all processes measured, and what follows from it.

use std::fmt;

use backend::Backend;
use serde_json::json;

use crate::checkpoint::measurement::median;
use crate::program::Result;

use super::contender::{Arm, Contender};
use super::network::Name;
use super::task::Measured;

/// What is trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    /// The network.
    pub(crate) name: Name,
    /// Saves after each so many steps, or never.
    pub(crate) save_every: usize,
    /// Threads that compute.
    pub(crate) threads: usize,
    /// Items in a batch.
    pub(crate) batch: usize,
    /// Steps that are not counted.
    pub(crate) warm_up: usize,
    /// Steps that are.
    pub(crate) steps: usize,
    /// What is computed on.
    pub(crate) backend: Backend,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} threads", self.name.title(), self.threads)?;
        match self.save_every {
            0 => Ok(()),
            1 => write!(f, ", saves at every step"),
            every => write!(f, ", saves every {every} steps"),
        }
    }
}

/// One process.
#[derive(Debug)]
pub(crate) struct ProcessResult {
    pub(crate) case: Case,
    pub(crate) arm: Arm,
    /// Its measurement, or why there is none.
    pub(crate) outcome: Result<Measured, String>,
}

/// All processes, in their order.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<ProcessResult>);

/// What the processes of one arm come to in one case.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    /// Seconds a step: the median of the processes, the fastest and the slowest.
    pub(crate) step: f64,
    pub(crate) fastest: f64,
    pub(crate) slowest: f64,
    /// Seconds of the processors a step; medians, as those below.
    pub(crate) cpu: f64,
    pub(crate) first_step: f64,
    pub(crate) peak: Option<f64>,
    pub(crate) device_peak: Option<f64>,
    pub(crate) loss: Option<f64>,
    pub(crate) saves: Option<f64>,
    pub(crate) skipped_saves: Option<f64>,
}

impl Results {
    /// Adds a process.
    pub(crate) fn add(&mut self, case: &Case, arm: &Arm, outcome: Result<Measured, String>) {
        if let Err(why) = &outcome {
            eprintln!("  no figures: {why}");
        }
        self.0.push(ProcessResult { case: case.clone(), arm: arm.clone(), outcome });
    }

    /// The cases, in their order.
    pub(crate) fn cases(&self) -> Vec<&Case> {
        let mut seen: Vec<&Case> = Vec::new();
        for process in &self.0 {
            if !seen.contains(&&process.case) {
                seen.push(&process.case);
            }
        }
        seen
    }

    /// Whether a process of it has failed before.
    pub(crate) fn failed(&self, case: &Case, arm: &Arm) -> bool {
        self.of(case, arm).any(|process| process.outcome.is_err())
    }

    /// What failed: in which case, who, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&Case, &Arm, &str)> {
        self.0.iter().filter_map(|process| {
            Some((&process.case, &process.arm, process.outcome.as_ref().err()?.as_str()))
        })
    }

    fn of<'a>(&'a self, case: &'a Case, arm: &'a Arm) -> impl Iterator<Item = &'a ProcessResult> {
        self.0.iter().filter(move |process| process.case == *case && process.arm == *arm)
    }

    /// The figures of an arm in a case.
    pub(crate) fn figures(&self, case: &Case, arm: &Arm) -> Option<Figures> {
        let measured: Vec<&Measured> =
            self.of(case, arm).filter_map(|process| process.outcome.as_ref().ok()).collect();
        let middle = |value: &dyn Fn(&Measured) -> Option<f64>| {
            median(&measured.iter().filter_map(|measured| value(measured)).collect::<Vec<_>>())
        };
        let steps = case.steps as f64;
        let each = measured.iter().map(|measured| measured.seconds / steps);
        Some(Figures {
            step: middle(&|measured| Some(measured.seconds / steps))?,
            fastest: each.clone().fold(f64::INFINITY, f64::min),
            slowest: each.fold(0.0, f64::max),
            cpu: middle(&|measured| Some(measured.cpu_seconds / steps))?,
            first_step: middle(&|measured| Some(measured.first_step))?,
            peak: middle(&|measured| measured.peak.map(|bytes| bytes as f64)),
            device_peak: middle(&|measured| measured.device_peak.map(|bytes| bytes as f64)),
            loss: middle(&|measured| measured.loss),
            saves: middle(&|measured| measured.saves.map(|count| count as f64)),
            skipped_saves: middle(&|measured| measured.skipped_saves.map(|count| count as f64)),
        })
    }

    /// The step of an arm without saves, to which the one with saves is compared.
    pub(crate) fn step_without_saves(&self, case: &Case, arm: &Arm) -> Option<f64> {
        let without = Case { save_every: 0, ..case.clone() };
        Some(self.figures(&without, arm)?.step)
    }

    /// The step of PyTorch, to which others are compared.
    pub(crate) fn torch_step(&self, case: &Case) -> Option<f64> {
        let arm = &self.0.iter().find(|process| process.arm.contender == Contender::Torch)?.arm;
        Some(self.figures(case, arm)?.step)
    }

    /// The parameters of a network, as its processes counted them: each number once.
    pub(crate) fn parameters(&self, name: Name) -> Vec<u64> {
        let of_network = self.0.iter().filter(|process| process.case.name == name);
        let mut counts: Vec<u64> =
            of_network.filter_map(|process| Some(process.outcome.as_ref().ok()?.parameters)).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Whether all contenders trained networks of one size.
    ///
    /// # Errors
    ///
    /// The network that has several.
    pub(crate) fn check_parameters(&self) -> Result<()> {
        for case in self.cases() {
            let counts = self.parameters(case.name);
            if counts.len() > 1 {
                let title = case.name.title();
                return Err(format!("{title}: the contenders' networks have {counts:?} parameters").into());
            }
        }
        Ok(())
    }

    /// Packages of the peers with their versions, each once.
    pub(crate) fn versions(&self) -> Vec<&str> {
        let measured = self.0.iter().filter_map(|process| process.outcome.as_ref().ok());
        let mut versions: Vec<&str> = measured.filter_map(|measured| measured.version.as_deref()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// A line for each process.
    ///
    /// # Errors
    ///
    /// None that is known: all values can be written.
    pub(crate) fn json_lines(&self) -> Result<String> {
        let mut lines = String::new();
        for ProcessResult { case, arm, outcome } in &self.0 {
            let line = json!({
                "bench": "train",
                "model": case.name.title(),
                "backend": case.backend.to_string(),
                "threads": case.threads,
                "batch": case.batch,
                "steps": case.steps,
                "save_every": case.save_every,
                "contender": arm.title(),
                "measured": outcome.as_ref().ok(),
                "failed": outcome.as_ref().err(),
            });
            lines.push_str(&serde_json::to_string(&line)?);
            lines.push('\n');
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender;
    use super::*;

    #[test]
    fn figures_are_medians_and_other_sizes_of_network_are_an_error() {
        let arms = contender::arms(&[Contender::Ours, Contender::Torch], None, "python3".as_ref()).unwrap();
        let case = Case {
            name: Name::Digits,
            save_every: 0,
            threads: 1,
            batch: 32,
            warm_up: 1,
            steps: 10,
            backend: Backend::Flex,
        };
        let mut results = Results::default();
        for seconds in [3.0, 1.0, 2.0] {
            let measured = Measured { parameters: 7, seconds, ..Measured::default() };
            results.add(&case, &arms[0], Ok(measured));
        }
        results.add(&case, &arms[1], Ok(Measured { parameters: 7, seconds: 1.0, ..Measured::default() }));
        let figures = results.figures(&case, &arms[0]).unwrap();
        assert_eq!((figures.step, figures.fastest, figures.slowest), (0.2, 0.1, 0.3));
        assert_eq!(results.torch_step(&case), Some(0.1));
        results.check_parameters().unwrap();
        assert_eq!(results.json_lines().unwrap().lines().count(), 4);
        results.add(&case, &arms[1], Ok(Measured { parameters: 8, ..Measured::default() }));
        let error = results.check_parameters().unwrap_err().to_string();
        assert!(error.contains("digits") && error.contains("[7, 8]"), "{error}");
    }
}
