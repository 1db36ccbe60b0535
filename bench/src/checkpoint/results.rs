//! What all processes measured: by case, contender and phase, or why there is no measurement.

use super::case::Case;
use super::contender::{Contender, Phase};
use super::measurement::{Measurement, WARM_UP, best, median};
use crate::measure::save_cost::{Cost, Moments, cost};

/// One process, and what it measured.
#[derive(Debug)]
pub struct ProcessResult {
    /// The case that it ran.
    pub case: Case,
    /// The contender.
    pub contender: Contender,
    /// Its phase.
    pub phase: Phase,
    /// Its measurement, or why there is none.
    pub outcome: Result<Measurement, String>,
}

/// The results of all processes.
#[derive(Debug, Default)]
pub struct Results(Vec<ProcessResult>);

impl Results {
    /// Adds a process.
    pub fn add(&mut self, process: ProcessResult) {
        self.0.push(process);
    }

    /// The cases, in their order.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        let mut seen: Vec<&Case> = Vec::new();
        for process in self.0.iter().filter(|process| process.contender != Contender::Loop) {
            if !seen.contains(&&process.case) {
                seen.push(&process.case);
            }
        }
        seen.into_iter()
    }

    /// All processes, in their order.
    pub fn all(&self) -> impl Iterator<Item = &ProcessResult> {
        self.0.iter()
    }

    /// The measurement of one process.
    #[must_use]
    pub fn of(&self, case: &Case, contender: Contender, phase: Phase) -> Option<&Measurement> {
        let same = |process: &&ProcessResult| {
            process.case == *case && process.contender == contender && process.phase == phase
        };
        self.0.iter().find(same)?.outcome.as_ref().ok()
    }

    /// What a contender's saves cost.
    #[must_use]
    pub fn cost(&self, case: &Case, contender: Contender) -> Option<Cost> {
        let measured = self.of(case, contender, Phase::Train)?;
        cost(&Moments {
            begins: &measured.begins,
            saves: &measured.saves,
            warm_up: WARM_UP,
            no_steps: &[],
            step_of_save: measured.step_of_save,
        })
    }

    /// How long a save took while the loop waited.
    #[must_use]
    pub fn idle(&self, case: &Case, contender: Contender) -> Option<f64> {
        let idle = self.of(case, contender, Phase::Train)?.idle?;
        Some(idle.durable - idle.asked)
    }

    /// The median of the times that a process measured under a name.
    #[must_use]
    pub fn time(&self, case: &Case, contender: Contender, phase: Phase, name: &str) -> Option<f64> {
        median(self.of(case, contender, phase)?.times.get(name)?)
    }

    /// The smallest of these times.
    #[must_use]
    pub fn best_time(&self, case: &Case, contender: Contender, phase: Phase, name: &str) -> Option<f64> {
        best(self.of(case, contender, phase)?.times.get(name)?)
    }

    /// The measurement of the loop without saves.
    #[must_use]
    pub fn loops(&self) -> Option<&Measurement> {
        let process = self.0.iter().find(|process| process.contender == Contender::Loop)?;
        process.outcome.as_ref().ok()
    }

    /// Package and version of everything that took part.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let mut versions = std::collections::BTreeMap::new();
        for measured in self.0.iter().filter_map(|process| process.outcome.as_ref().ok()) {
            versions.extend(&measured.versions);
        }
        versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect()
    }
}
