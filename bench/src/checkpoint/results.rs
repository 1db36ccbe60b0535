//! What all processes told: by case, contender and phase, or why there is nothing.

use super::case::Case;
use super::contender::{Contender, Phase};
use super::measured::{Measured, WARM_UP, best, median};
use crate::measure::window::{Cost, Moments, cost};

/// One process, and what it told.
#[derive(Debug)]
pub struct Told {
    /// The case that it ran.
    pub case: Case,
    /// Who.
    pub contender: Contender,
    /// What.
    pub phase: Phase,
    /// What it told, or why it told nothing.
    pub outcome: Result<Measured, String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Results(Vec<Told>);

impl Results {
    /// One more.
    pub fn add(&mut self, told: Told) {
        self.0.push(told);
    }

    /// The cases, in their order.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        let mut seen: Vec<&Case> = Vec::new();
        for told in self.0.iter().filter(|told| told.contender != Contender::Loop) {
            if !seen.contains(&&told.case) {
                seen.push(&told.case);
            }
        }
        seen.into_iter()
    }

    /// All, in their order.
    pub fn all(&self) -> impl Iterator<Item = &Told> {
        self.0.iter()
    }

    /// What a process of a contender told.
    #[must_use]
    pub fn of(&self, case: &Case, contender: Contender, phase: Phase) -> Option<&Measured> {
        let same = |told: &&Told| told.case == *case && told.contender == contender && told.phase == phase;
        self.0.iter().find(same)?.outcome.as_ref().ok()
    }

    /// What a contender's saves cost.
    #[must_use]
    pub fn cost(&self, case: &Case, contender: Contender) -> Option<Cost> {
        let told = self.of(case, contender, Phase::Train)?;
        cost(&Moments {
            begins: &told.begins,
            saves: &told.saves,
            warm_up: WARM_UP,
            no_steps: &[],
            step_of_save: told.step_of_save,
        })
    }

    /// How long a save took while the loop stood still.
    #[must_use]
    pub fn idle(&self, case: &Case, contender: Contender) -> Option<f64> {
        let idle = self.of(case, contender, Phase::Train)?.idle?;
        Some(idle.durable - idle.asked)
    }

    /// The median of one of the times that a process told by name.
    #[must_use]
    pub fn time(&self, case: &Case, contender: Contender, phase: Phase, name: &str) -> Option<f64> {
        median(self.of(case, contender, phase)?.times.get(name)?)
    }

    /// The smallest of them.
    #[must_use]
    pub fn best_time(&self, case: &Case, contender: Contender, phase: Phase, name: &str) -> Option<f64> {
        best(self.of(case, contender, phase)?.times.get(name)?)
    }

    /// What the loop told, with its case.
    #[must_use]
    pub fn loops(&self) -> Option<&Measured> {
        let told = self.0.iter().find(|told| told.contender == Contender::Loop)?;
        told.outcome.as_ref().ok()
    }

    /// Package and version of everything that took part.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let mut versions = std::collections::BTreeMap::new();
        for told in self.0.iter().filter_map(|told| told.outcome.as_ref().ok()) {
            versions.extend(&told.versions);
        }
        versions.into_iter().map(|(name, version)| format!("{name} {version}")).collect()
    }
}
