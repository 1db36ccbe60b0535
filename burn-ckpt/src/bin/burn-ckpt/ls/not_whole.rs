//! How many checkpoints are not whole, and how many links lead to none: what makes the exit status of a list
//! 1.

use std::ops::AddAssign;
use std::path::Path;

use crate::ls::broken::is_damage;
use crate::ls::listing::{Listing, is_without_metadata};
use crate::terminal::figures::{count, grouped};
use crate::terminal::output::say;
use crate::terminal::printable::in_one_line;

/// The checkpoints of runs, and those that are not whole. One that lacks its metadata alone is not among
/// them: it is not known to be damaged.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotWhole {
    checkpoints: usize,
    damaged: usize,
    unreadable: usize,
    dangling: usize,
}

impl NotWhole {
    pub fn of(listing: &Listing) -> Self {
        let problems = || listing.rows.iter().filter_map(|row| row.problem.as_ref());
        Self {
            checkpoints: listing.rows.len(),
            damaged: problems().filter(|error| is_damage(error)).count(),
            unreadable: problems().filter(|error| !is_damage(error) && !is_without_metadata(error)).count(),
            dangling: listing.dangling.len(),
        }
    }

    /// What is wrong, in words. `None` where all is well.
    pub fn in_words(&self) -> Option<String> {
        let of = count(self.checkpoints, "checkpoint");
        let is = if self.damaged == 1 { "is" } else { "are" };
        let lead = if self.dangling == 1 { "leads" } else { "lead" };
        let said = [
            (self.damaged > 0).then(|| format!("{} of {of} {is} damaged", grouped(self.damaged))),
            (self.unreadable > 0).then(|| format!("{} of {of} cannot be read", grouped(self.unreadable))),
            (self.dangling > 0).then(|| format!("{} {lead} to a missing file", count(self.dangling, "link"))),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// Links that lead to a missing file.
    pub fn dangling(&self) -> usize {
        self.dangling
    }

    /// Says it beside what is of the log of metrics, in which the checkpoints are only marked.
    pub fn say_as_note(&self, run: &Path) {
        if let Some(said) = self.in_words() {
            let run = in_one_line(&run.display().to_string());
            say(format!("note: {said}: burn-ckpt ls {run} says which"));
        }
    }
}

impl AddAssign for NotWhole {
    fn add_assign(&mut self, other: Self) {
        self.checkpoints += other.checkpoints;
        self.damaged += other.damaged;
        self.unreadable += other.unreadable;
        self.dangling += other.dangling;
    }
}
