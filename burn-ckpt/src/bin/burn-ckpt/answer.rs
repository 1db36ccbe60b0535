//! What a verb answers: yes, no, or why it cannot tell.

use burn_ckpt::Error;

/// Whether what was asked about is so; if it is not, the verb has said why.
pub type Answer = Result<bool, Failure>;

/// Why a verb could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The library says why.
    #[error(transparent)]
    Checkpoint(#[from] Error),
    /// Anything else; the message says why.
    #[error("{0}")]
    Other(String),
    /// What was asked for cannot be answered in that form; the message says which form can.
    #[error("{0}")]
    Usage(String),
}
