//! The verbs that look for faults by chance: kills at random moments, and files changed by chance.

pub mod fuzz;
pub mod soak;
