//! The verbs that look for faults by chance: kills at random moments, and files that nobody wrote.

pub mod fuzz;
pub mod soak;
