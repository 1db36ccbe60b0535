//! Measuring: times, what a save costs a loop, what the machine does meanwhile, and whether two runs are the
//! same.

pub mod compare_checkpoints;
pub(crate) mod kernel_counters;
pub(crate) mod machine;
pub mod save_cost;
pub mod stopwatch;
pub(crate) mod timing;
