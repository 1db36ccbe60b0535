//! One point of the curve of a sweep.

/// The loss at a learning rate. [`suggestion`](super::LearningRateSweep::suggestion) follows from them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SweptRate {
    /// The rate of the optimizer step.
    pub learning_rate: f64,
    /// The loss of its batches, before the step.
    pub loss: f64,
    /// The same, smoothed over the steps before.
    pub smoothed_loss: f64,
}
