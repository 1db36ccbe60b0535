//! What is deleted in a mirror: checkpoints that no rule keeps, what killed writers left, and whole runs.

mod leftovers;
pub(crate) mod mirror_keep;
mod remove_run;
pub(crate) mod retention;
