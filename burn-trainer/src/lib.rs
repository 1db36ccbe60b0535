//! Metric-driven checkpoints around burn's `Learner`: best top-k, last, on a time interval, on an exception;
//! with metadata that says what a checkpoint is and what it was made on.
//!
//! Start with [`Trainer`]. Its configuration is [`TrainerConfig`]; what is saved is decided by [`Strategy`]s,
//! usually the three that `primary_metric` turns on. Files are the crate [`burn_ckpt`]'s. For those who know PyTorch
//! Lightning, [`from_lightning`] has the calls side by side.
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
//! optimizer/   the optimizer's tensors, as handles where it is streamed, by the paths of their parameters
//! burn-ckpt    sections -> container + digests -> metadata -> commit -> links -> retention
//! ```
//!
//! With [`Trainer::fit_with`] the loop is burn's or the user's; `epoch_saves.rs` then stands in the place of the first
//! two, behind burn's own checkpointing hooks, and catches the state there.
//!
//! # How a run goes on
//!
//! ```text
//! run.rs       opens the run; resume.rs: which checkpoint, is it whole, its state into the learner
//! before.rs    what each strategy holds from before, with the names that a kill kept from being given
//! fit.rs       begins at the state's position; early stopping sees the epochs before once more
//! dataloader/  the order of the data is a function of seed and epoch, so a pass begins anywhere; batches.rs
//! random.rs    the device is seeded for every batch, by its place in the run
//! metrics/     the history goes on: no line of a metric file is missing or double
//! ```
//!
//! # When a device of another machine is lost
//!
//! ```text
//! remote/      names such a device and connects it, with a token (feature `remote`)
//! watch.rs     asks each of them for a small sum every now and then, and says which does not answer
//! watched.rs   so the loop runs on a thread that can be left behind: Error::DeviceLost, with the newest checkpoint
//! cli/         --restarts: the program starts itself again, and goes on with the devices that answer
//! ```
//!
//! # What is exact
//!
//! A run that was stopped or killed anywhere, and gone on with, ends with the same bytes as one that never stopped: model,
//! optimizer, scheduler, best list and metric files. That holds on a device that computes the same way each time, with
//! a [`ResumableDataLoader`] (or burn's own with at most one worker).
//!
//! *Random numbers* are covered as far as they are drawn through the device in a training step or a validation (dropout,
//! noise): the device is seeded before every batch, with a function of [`TrainerConfig::seed`], the epoch and the batch.
//! Not covered are generators of a program's own (give [`ResumableDataLoaderBuilder::transform`] a seed for every item
//! instead), and numbers that a batcher draws from the device: with worker threads their order is not fixed, on flex all
//! devices of a process share one stream, and the training step's seed may come in between.
//!
//! *Saves fall on optimizer steps.* Gradients that were accumulated since the last one are not saved, their batches come
//! again.
//!
//! *Metrics that are no means over batches* (burn's AUROC, for one) and are resumed in the middle of an epoch cover the
//! batches after that, in that epoch's training split; a warning says so. burn's metric objects cannot be saved.

mod burn_loops;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
mod dataloader;
mod error;
// A page, and nothing in it. Its snippets are compiled where they run, in a system test, and not as doctests: those would each
// need the model and the imports again, as hidden lines that a reader of the Markdown sees.
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../../docs/from-lightning.md")]
pub mod from_lightning {}
mod metrics;
mod optimizer;
mod process;
mod remote;
mod result;
mod run;
mod saving;
#[cfg(test)]
mod scratch_dir;
mod state;
mod strategy;
mod trainer;
mod training_loop;

pub use burn_ckpt;
#[cfg(feature = "mimalloc")]
pub use process::allocator::KeepingAllocator;

pub use burn_environment::{
    Environment, EnvironmentProbe, Git, GpuApi, GpuDevice, GpuKind, Hardware, Lsf, LsfHost, Os, Package,
    Rust, Slurm, gpus, program,
};
pub use burn_loops::ddp::ddp;
pub use config::{FailedSaves, TrainerConfig};
pub use dataloader::{ResumableDataLoader, ResumableDataLoaderBuilder};
pub use error::{Error, Result};
pub use optimizer::{InitStreamed, StateParts, StateTensors, Streamed};
pub use process::console::PlainRenderer;
pub use process::signals::StopSignal;
pub use process::start_device::start_device;
#[cfg(feature = "remote")]
pub use remote::{Relays, RemoteAddress, Token, check_secret, connect, endpoint_builder};
pub use result::FitResult;
pub use state::event::{RunProgress, TrainingEvent};
pub use strategy::{
    Best, BestStrategy, CheckpointOutput, Interval, Last, LastStrategy, OnException, OnExceptionStrategy,
    SaveDecision, Strategy, StrategyConfig,
};
pub use trainer::Trainer;
