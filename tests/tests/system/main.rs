//! The promises, each in a file of its own, kept through the public API and the command line.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod back_pressure;
mod bench;
mod burns_strategies;
mod char_lm;
mod ckpt_command_line;
mod ckpt_diff;
mod ckpt_env;
mod ckpt_ls;
mod ckpt_prune;
mod ckpt_show;
mod ckpt_verify;
mod command_line;
mod container;
mod dataloader;
mod devices;
mod directory;
mod dirpaths;
mod documents;
mod environment;
mod export;
mod failed_saves;
mod git_repositories;
mod golden;
mod gpus;
mod header_alone;
mod hints;
mod hostile_state;
mod import;
mod import_hostile;
mod loading;
mod metric_files;
mod names;
mod native_inference;
mod on_each_backend;
#[cfg(feature = "wgpu")]
mod on_wgpu;
mod one_pass;
mod overwrite;
mod processes;
mod reconcile;
#[cfg(feature = "remote")]
mod remote;
mod retention;
mod run_directory;
mod secrets;
mod signals;
mod slurm;
mod small_dependencies;
mod soak;
mod topk;
mod users_loop;
