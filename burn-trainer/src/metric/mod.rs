//! Metrics that burn lacks, for `.metrics((..,))` of burn's `SupervisedTraining` and for an evaluation.
//!
//! [`MeanLoss`] is the mean of the loss over the items. burn's `LossMetric` is the mean over the batches,
//! unless the loss has a value for each item: a last batch of one item counts as much as a full one.
//!
//! [`MeanOf`] is the mean of any other number, over the items too.

mod mean_loss;
mod mean_of;

pub use mean_loss::{MeanLoss, MeanLossInput};
pub use mean_of::MeanOf;

/// Decimals of a shown value, as of burn's loss.
const DECIMALS: usize = 2;
