//! Before the first step: the run is opened, the checkpoint to resume from is found and checked, and the
//! parts of training are made.

mod changed_settings;
pub(crate) mod checkpoint_size;
pub(crate) mod choose_strategies;
mod created_directories;
mod end_with;
mod file_system;
pub(crate) mod find_checkpoint;
pub(crate) mod launch;
pub(crate) mod open;
pub(crate) mod prepare;
mod start_lines;
mod starts;
