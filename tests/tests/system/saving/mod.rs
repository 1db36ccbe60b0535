//! Saving: when, where, under which names, what stays, and what a failed save costs.

mod back_pressure;
mod directory;
mod dirpaths;
mod each_state_once;
mod earlier_checkpoints;
mod failed_saves;
mod metric_files;
mod names;
mod names_that_fall_together;
mod one_pass;
mod retention;
mod too_large;
mod topk;
