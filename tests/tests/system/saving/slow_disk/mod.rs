//! A disk that is slower than the loop: which states wait, and which are verified in time.

mod back_pressure;
mod earlier_checkpoints;
