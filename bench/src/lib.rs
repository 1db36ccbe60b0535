//! What the measuring programs share: the jobs that they train (`training_jobs.rs`), the stopwatch that times
//! steps and saves (`measure/`), and the page that they print (`page/`).
//!
//! | program | measures | command |
//! |---|---|---|
//! | `gpu-check` | training, saving and resuming on a device | `cargo xtask gpu-check` |
//! | `bench-checkpoint` | what saving and loading a checkpoint cost, compared with the peers | `cargo xtask bench checkpoint` |
//! | `bench-start` | the start of a run with many kept checkpoints | `cargo xtask bench start` |
//! | `bench-epochs` | a run of very many epochs: time, size and memory early and late | `cargo xtask bench epochs` |
//! | `bench-busy` | what saves cost, and how long they take, beside busy processes | `cargo xtask bench busy` |
//! | `bench-guard` | what the gradient guard costs a step of char-lm | `cargo xtask bench guard` |
//! | `bench-optimizer` | how long an update of Adam takes, compared with burn's own | `cargo xtask bench optimizer` |
//! | `bench-train` | how fast training is, compared with burn's own loop, PyTorch and JAX | `cargo xtask bench train` |
//! | `bench-mirror` | what a mirror in a store of 1 MB/s costs a step of char-lm | `cargo xtask bench mirror` |
//! | `bench-remote` | training on devices of servers, compared with the same on this machine's own | `cargo xtask bench remote` |

pub mod busy;
pub mod checkpoint;
mod child_process;
pub mod epochs;
pub mod guard;
mod kept;
mod measure;
#[cfg(feature = "mirror")]
pub mod mirror;
pub mod optimizer;
mod own_process;
mod page;
mod program;
#[cfg(feature = "remote")]
pub mod remote;
pub mod start;
pub mod train;
mod training_jobs;

pub use measure::compare_checkpoints::{Comparison, compare};
pub use measure::save_cost::Cost;
pub use measure::stopwatch::{Laps, SaveCost, Span, Stopwatch};
pub use page::table::Table;
pub use training_jobs::{CharLmJob, DigitsJob, Job, Outcome, parse_size};
