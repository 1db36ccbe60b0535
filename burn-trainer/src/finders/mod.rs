//! Searches for settings before a run: a learning rate, and the largest batch that fits. A search trains
//! copies of the model, and leaves the run as it is.
//!
//! | to find | with these settings | call | to get |
//! |---|---|---|---|
//! | a learning rate | [`LearningRateFinder`] | [`Trainer::find_learning_rate`] | [`LearningRateSweep`] |
//! | the largest batch that fits | [`BatchSizeFinder`] | [`Trainer::find_batch_size`] | [`FoundBatchSize`] |
//!
//! Both methods have an example. A program with `cli::FindArgs` (feature `cli`) has flags for both.
//!
//! [`Trainer::find_learning_rate`]: crate::Trainer::find_learning_rate
//! [`Trainer::find_batch_size`]: crate::Trainer::find_batch_size

mod batch_size;
mod curve_svg;
mod learning_rate;
mod result_file;
mod sweep;
mod sweep_point;

pub use batch_size::{
    BatchFit, BatchSizeEnd, BatchSizeFinder, BatchSizeMode, FoundBatchSize, TriedBatchSize,
};
pub use learning_rate::LearningRateFinder;
pub use sweep::{LearningRateSweep, NoSuggestion, SweepEnd};
pub use sweep_point::SweepPoint;
