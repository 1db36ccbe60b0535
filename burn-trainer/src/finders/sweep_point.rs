//! One point of the curve of a sweep.

/// The loss at one learning rate of a sweep, from which
/// [`suggestion`](super::LearningRateSweep::suggestion) chooses a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SweepPoint {
    /// The rate of the optimizer step.
    pub learning_rate: f64,
    /// The loss of its batches, before the step.
    pub loss: f64,
    /// The loss, smoothed over the steps up to this one.
    pub smoothed_loss: f64,
}
