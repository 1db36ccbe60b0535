//! Finds settings before a run: a learning rate, the largest batch. They train copies, and leave the run as
//! it is.
//!
//! [`Trainer::find_learning_rate`](crate::Trainer::find_learning_rate) and
//! [`Trainer::find_batch_size`](crate::Trainer::find_batch_size) have examples. A program with
//! `cli::FindArgs` (feature `cli`) has flags for both.

mod batch_size;
mod learning_rate;
mod picture;
mod result_file;
mod sweep;
mod swept_rate;

pub use batch_size::{
    BatchFit, BatchSizeEnd, BatchSizeFinder, BatchSizeMode, FoundBatchSize, TriedBatchSize,
};
pub use learning_rate::LearningRateFinder;
pub use sweep::{LearningRateSweep, NoSuggestion, SweepEnd};
pub use swept_rate::SweptRate;
