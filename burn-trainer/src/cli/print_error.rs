//! How a program prints the error that ends it.

use burn_ckpt::chain;

use crate::error::Error;
use crate::process::console::{say, say_lines};

/// Prints an error in one line. Only a message of burn's or of the program can have several, as that of a
/// panic.
pub(super) fn say_error(error: &Error) {
    let text = format!("error: {}", chain(error));
    match error {
        Error::Panicked { .. }
        | Error::Training { .. }
        | Error::Callback { .. }
        | Error::Evaluation { .. }
        | Error::DeviceLost { .. } => say_lines(&text),
        _ => say(&text),
    }
}
