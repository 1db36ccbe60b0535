//! What the page says of the run.

/// What a run does, in a word, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageStatus {
    /// As `burn-ckpt runs` says it.
    pub(super) word: &'static str,
    /// Empty if there is nothing more to say.
    pub(super) why: String,
}

impl PageStatus {
    pub(crate) fn new(word: &'static str, why: impl Into<String>) -> Self {
        Self { word, why: why.into() }
    }
}
