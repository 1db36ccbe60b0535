//! A run's directory: its layout, the files in it, and finding a checkpoint by name.

pub(crate) mod catalog;
pub(crate) mod cleanup;
pub(crate) mod evaluations;
pub(crate) mod filename_template;
pub(crate) mod layout;
pub(crate) mod locate;
pub(crate) mod other_runs;
pub(crate) mod outside;
pub(crate) mod tags;
pub(crate) mod training_progress;
mod without_links;
