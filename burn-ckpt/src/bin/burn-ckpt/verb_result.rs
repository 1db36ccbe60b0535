//! The result of a verb: yes, no, or an error.

use burn_ckpt::Error;

/// True for yes (the checkpoints are complete, nothing differs, ..). False for no, of which the verb has
/// printed the reason.
pub type VerbResult = Result<bool, Failure>;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An error of the library.
    #[error(transparent)]
    Checkpoint(#[from] Error),
    /// Any other error, with its causes in the text.
    #[error("{0}")]
    Other(String),
    /// The same with a list of what is wrong, each on a line of its own below it.
    #[error("{message}")]
    Listed { message: String, list: Vec<String> },
    /// Wrong usage that the command line's parser does not find. The message says what to write.
    #[error("{0}")]
    Usage(String),
}
