//! Before the first step: the run is opened, what is there is found and checked, and what will be saved is chosen.

pub(crate) mod choose_strategies;
pub(crate) mod existing_checkpoints;
pub(crate) mod open;
pub(crate) mod prepare;
pub(crate) mod resume;
