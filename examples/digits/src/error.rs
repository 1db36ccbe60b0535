//! What can be wrong with hyperparameters or an image, for programs that have no trainer too.

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the model cannot be made of, or cannot look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter that cannot be used.
    #[error("{setting} cannot be used: {reason}")]
    Setting {
        /// The field of the hyperparameters.
        setting: &'static str,
        /// What would do.
        reason: String,
    },
    /// Pixels that make no image of the size that the model looks at.
    #[error("the model looks at images of {side}x{side} pixels, and {found} pixels are given")]
    Pixels {
        /// Pixels on one side of the model's images.
        side: usize,
        /// How many there are.
        found: usize,
    },
}

/// So that the training program treats a wrong hyperparameter as any other wrong setting.
#[cfg(feature = "train")]
impl From<Error> for burn_trainer::Error {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Setting { setting, reason } => Self::Config { setting: setting.to_owned(), reason },
            Error::Pixels { .. } => Self::Config { setting: "the data".to_owned(), reason },
        }
    }
}
