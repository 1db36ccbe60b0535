//! Resuming: from where, exactly, after kills and signals, and from directories that are not as they should
//! be.

mod changed_runs;
mod copied_runs;
mod dataloader;
mod earlier_checkpoints;
mod hostile;
mod one_file;
mod overwrite;
mod reconcile;
mod run_directory;
mod signals;
mod soak;
mod start_lines;
mod training_time;
