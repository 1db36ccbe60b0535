//! A run's directory: its layout, the files in it, and finding a checkpoint by name.

pub(crate) mod catalog;
pub(crate) mod cleanup;
pub(crate) mod display_files;
pub(crate) mod evaluations;
pub(crate) mod filename_template;
pub(crate) mod layout;
pub(crate) mod locate;
mod locate_without_links;
pub(crate) mod other_runs;
pub(crate) mod outside_directories;
pub(crate) mod replaced_shards;
pub(crate) mod tags;
pub(crate) mod training_progress;
