//! What callbacks ask of the loop.

/// The requests of all callbacks of a run.
#[derive(Debug)]
pub(crate) struct Requests<M> {
    /// The first that ends the run.
    pub(crate) stop: Option<StopRequest>,
    /// The model for the validation that begins.
    pub(crate) validated: Option<M>,
    /// By what the scheduler's rate is multiplied.
    pub(crate) rate_scale: f64,
}

/// A callback ends the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StopRequest {
    /// The callback's name.
    pub(crate) callback: String,
    pub(crate) reason: String,
}

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self { stop: None, validated: None, rate_scale: 1.0 }
    }
}
