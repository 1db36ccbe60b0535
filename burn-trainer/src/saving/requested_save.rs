//! A save that a strategy requests.

/// A strategy's request to save the present state.
pub(crate) struct RequestedSave {
    /// Its position among the strategies.
    pub(super) strategy: usize,
    pub(super) score: f64,
    pub(super) reason: String,
    /// Whether it is wanted only if better states, which are being written, fail.
    pub(super) conditional: bool,
}
