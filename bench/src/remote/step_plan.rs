//! The steps of a run: warm-up, steps without a save, and steps with saves.

/// Steps that are not counted. They allocate memory and connect the servers. The loop does not wait for a
/// server, and in these steps it gets as far ahead of the server as it ever does.
pub const WARM_UP: u64 = 4;

/// The steps of a run.
#[derive(Debug, Clone, Copy)]
pub struct StepPlan {
    /// Steps that are measured before the first save.
    pub steps: u64,
    /// Saves.
    pub saves: u64,
    /// Steps from one save to the next.
    pub apart: u64,
}

impl StepPlan {
    /// The step after which the first save is made.
    pub fn first_save(self) -> u64 {
        WARM_UP + self.steps
    }

    /// The steps after which saves are made.
    pub fn saves_at(self) -> impl Iterator<Item = u64> {
        (0..self.saves).map(move |save| self.first_save() + save * self.apart)
    }

    /// All steps. The last one contains the validation and is not counted.
    pub fn all(self) -> u64 {
        self.first_save() + self.saves * self.apart + 1
    }
}
