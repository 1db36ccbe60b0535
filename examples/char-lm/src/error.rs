//! What can be wrong with hyperparameters or with what a model answers, for programs that have no trainer too.

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the model cannot be made of, or cannot write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter, or a setting of what is to be written, that cannot be used.
    #[error("{setting} cannot be used: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What would do.
        reason: String,
    },
    /// The model's weights make no probabilities.
    #[error("the model's answer is not a number, as if its training had diverged")]
    NotANumber,
}

/// So that the training program treats a wrong hyperparameter as any other wrong setting.
#[cfg(feature = "train")]
impl From<Error> for burn_trainer::Error {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Setting { setting, reason } => Self::Config { setting: setting.to_owned(), reason },
            Error::NotANumber => Self::Config { setting: "the model".to_owned(), reason },
        }
    }
}
