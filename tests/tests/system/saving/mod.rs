//! Saving: when, where, under which names, what stays, and what a failed save costs.

mod directory;
mod dirpaths;
mod each_state_once;
mod failed_saves;
mod metric_files;
mod names;
mod names_that_fall_together;
mod one_pass;
mod outside_in_commands;
mod retention;
mod slow_disk;
mod too_large;
mod topk;
