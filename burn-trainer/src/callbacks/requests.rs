//! What callbacks ask of the loop.

use crate::state::end_reason::EndReason;

/// The requests of all callbacks of a run.
#[derive(Debug)]
pub(crate) struct Requests<M> {
    /// Why the run is to end: the first that asks for it.
    pub(crate) stop: Option<EndReason>,
    /// The callback whose model every validation uses, if one has said so.
    pub(crate) validates_with: Option<String>,
    /// The model for the validation that begins.
    pub(crate) validated: Option<M>,
    /// The named validation sets on which it is the trained one all the same.
    pub(crate) trained_on: Vec<String>,
    /// By what the scheduler's rate is multiplied.
    pub(crate) rate_scale: f64,
}

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self { stop: None, validates_with: None, validated: None, trained_on: Vec::new(), rate_scale: 1.0 }
    }
}
