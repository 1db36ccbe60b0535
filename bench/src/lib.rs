//! What the measuring programs share: the jobs that they train, the stopwatch that watches a run save, and the table that
//! they print.
//!
//! | program | measures | command |
//! |---|---|---|
//! | `gpu-check` | training, saving and resuming on a device | `cargo xtask gpu-check` |
//! | `bench-checkpoint` | what saving and loading a checkpoint cost, beside the peers | `cargo xtask bench checkpoint` |
//! | `bench-remote` | training on devices of servers, beside the same on this machine's own | `cargo xtask bench remote` |

pub mod checkpoint;
mod job;
mod measure;
mod program;
#[cfg(feature = "remote")]
pub mod remote;
mod table;

pub use job::{CharLmJob, DigitsJob, Job, Outcome, parse_size};
pub use measure::judge::{Comparison, compare};
pub use measure::stopwatch::{Laps, SaveCost, Span, Stopwatch};
pub use measure::window::Cost;
pub use table::Table;
