//! What a callback's method returns.

use std::error::Error;

/// What a callback's method returns. An error ends the run with [`Error::Callback`](crate::Error::Callback), which has the
/// callback's name, after the state was saved as at any failure.
pub type CallbackResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
