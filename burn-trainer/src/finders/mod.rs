//! Finds settings before a run: a learning rate, the largest batch. They train copies, and leave the run as it is.
//!
//! [`Trainer::find_learning_rate`](crate::Trainer::find_learning_rate) has an example.

mod learning_rate;
mod picture;
mod sweep;
mod swept_rate;

pub use learning_rate::LearningRateFinder;
pub use sweep::{LearningRateSweep, NoSuggestion, SweepEnd};
pub use swept_rate::SweptRate;
