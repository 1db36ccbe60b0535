//! What became of each checkpoint of a run that is sent to a mirror, or copied from one.

use crate::terminal::figures::{count, size};
use crate::terminal::printable::in_one_line;

/// One checkpoint, and what became of it.
pub struct Outcome {
    pub name: String,
    /// How many bytes were sent or copied.
    pub bytes: u64,
    pub was_there: bool,
    pub problem: Option<String>,
}

impl Outcome {
    pub fn failed(name: impl Into<String>, problem: String) -> Self {
        Self { name: name.into(), bytes: 0, was_there: false, problem: Some(problem) }
    }

    /// Its line. `done` is the verb for one that was not there: `sent`, `copied`.
    pub fn line(&self, done: &str) -> String {
        let name = in_one_line(&self.name);
        match (&self.problem, self.was_there) {
            (Some(problem), _) => format!("failed   {name}: {}", in_one_line(problem)),
            (None, true) => format!("there    {name}"),
            (None, false) => format!("{done:<8} {name}  {}", size(self.bytes)),
        }
    }
}

/// How many could not be sent or copied.
pub fn failed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.problem.is_some()).count()
}

/// What became of all: `2 checkpoints sent, 583.7 KiB; 1 there already, 0 not sent`. For the end of the verb.
pub fn summary(outcomes: &[Outcome], done: &str) -> String {
    let failed = failed(outcomes);
    let there = outcomes.iter().filter(|outcome| outcome.was_there).count();
    let bytes = size(outcomes.iter().map(|outcome| outcome.bytes).sum());
    let number = outcomes.len() - failed - there;
    format!("{} {done}, {bytes}; {there} there already, {failed} not {done}", count(number, "checkpoint"))
}
