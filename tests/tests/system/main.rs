//! The promises, each in a file of its own, kept through the public API and the command line.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod burn_ckpt_program;
mod environment;
mod evaluation;
mod fast_dev_run;
mod faults;
mod files_of_others;
mod loading;
mod machine_limits;
mod many_runs;
mod metrics_log;
#[cfg(feature = "mirror")]
mod mirrored_runs;
#[cfg(feature = "mirror")]
mod mirrors;
mod not_finite;
mod on_each_backend;
#[cfg(feature = "wgpu")]
mod on_wgpu;
mod programs;
#[cfg(feature = "remote")]
mod remote;
mod reports;
mod resuming;
mod saving;
mod several_files;
mod stopping;
mod terminals;
mod tracking;
mod training;
mod watching;
