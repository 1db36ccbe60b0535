//! Measuring: times, what a save costs a loop, what the machine does meanwhile, and whether two runs are the same.

pub mod judge;
pub(crate) mod machine;
pub mod stopwatch;
pub(crate) mod times;
pub mod window;
