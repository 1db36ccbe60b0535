//! The task of one process: it is given as JSON on the command line, to the program itself and to the Python
//! peers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::contender::{Contender, Phase};

/// What one process measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Which contender.
    pub contender: Contender,
    /// Which of its phases.
    pub phase: Phase,
    /// How large the state is.
    pub case: Case,
    /// Where its files go; all processes of a contender share one directory.
    pub dir: PathBuf,
    /// Saves to measure.
    pub saves: usize,
    /// Measure as little as possible, to see that everything works.
    pub quick: bool,
    /// Number of threads that compute.
    pub threads: usize,
    /// Seconds after which the process is killed.
    pub limit: u64,
}

impl Task {
    /// Undisturbed steps at the end of a run, beside those between the saves.
    #[must_use]
    pub fn quiet_steps(&self) -> u64 {
        if self.quick { 2 } else { 8 }
    }

    /// How often a short measurement is repeated.
    #[must_use]
    pub fn repetitions(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }
}
