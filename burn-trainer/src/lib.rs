//! Metric-driven checkpoints around burn's `Learner`: best top-k, last, on a time interval, on an exception;
//! with metadata that says what a checkpoint is and what it was made on.
//!
//! Start with [`Trainer`]. Its configuration is [`TrainerConfig`]; what is saved is decided by [`Strategy`]s,
//! usually the three that `primary_metric` turns on. Files are the crate [`burn_ckpt`]'s.
//!
//! # How saving flows
//!
//! ```text
//! fit.rs       the loop: a step, a validation, an epoch ends
//! session.rs   or something fails: an Event, with the Facts
//! strategy/    says whether the event is worth a checkpoint
//! saving.rs    would it be kept? reserves its place, for all strategies together
//! snapshot.rs  a clone of the learner: microseconds
//!              -- here the loop goes on; the rest is burn-ckpt's writer thread --
//! burn-ckpt    sections -> container + digests -> metadata -> commit -> links -> retention
//! ```
//!
//! With [`Trainer::fit_with`] the loop is burn's or the user's; `epoch_saves.rs` then stands in the place of the first
//! two, behind burn's own checkpointing hooks, and catches the state there.

mod batches;
mod buffers;
mod catching;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
mod dataloader;
mod ddp;
mod devices;
mod environment;
mod epoch_saves;
mod error;
mod event;
mod fit;
mod launch;
mod metrics;
mod optimizer_names;
mod optimizer_probe;
mod prepared;
mod progress;
mod random;
mod result;
mod resume;
mod run;
mod saving;
mod session;
mod signal;
mod snapshot;
mod state;
mod strategy;
mod trainer;

pub use burn_ckpt;

pub use config::{FailedSaves, TrainerConfig};
pub use dataloader::{ResumableDataLoader, ResumableDataLoaderBuilder};
pub use ddp::ddp;
pub use environment::{
    Environment, EnvironmentProbe, Git, GpuDevice, Hardware, Lsf, Os, Package, Rust, Slurm,
};
pub use error::{Error, Result};
pub use event::{Event, Facts};
pub use progress::PlainRenderer;
pub use result::FitResult;
pub use signal::StopSignal;
pub use strategy::{
    Best, BestStrategy, Decision, Interval, Last, LastStrategy, OnException, OnExceptionStrategy, Output,
    Strategy, StrategyConfig,
};
pub use trainer::Trainer;
