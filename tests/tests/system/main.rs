//! The promises, each in a file of its own, kept through the public API and the command line.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod burns_own_loop;
mod burns_strategies;
mod command_line;
mod container;
mod dataloader;
mod devices;
mod directory;
mod dirpaths;
mod documents;
mod exact;
mod exceptions;
mod export;
mod failed_saves;
mod from_checkpoint;
mod from_lightning;
mod header_alone;
mod hints;
mod hostile_state;
mod import;
mod import_hostile;
mod metric_files;
mod mid_epoch;
mod names;
mod native_inference;
mod once;
mod overwrite;
mod partial_loading;
mod processes;
mod reconcile;
mod recovery;
mod resume;
mod retention;
mod run_directory;
mod signals;
mod slurm;
mod small_dependencies;
mod snapshot;
mod soak;
mod topk;
mod users_loop;
mod verified_weights;
mod wrong_hparams;
