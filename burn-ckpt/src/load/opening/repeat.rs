//! Opening what a name leads to while a run replaces it.

use crate::error::Result;
use crate::error::kind::ErrorKind;

/// How often a checkpoint is looked for that a run replaces while it is opened.
const MAX_TRIES: u32 = 20;

/// Finds what a name leads to, and opens it. If it is gone by then, a run has replaced it: then there is a
/// newer one, and the name is looked at again. A name that leads to nothing is an error at once.
pub(in crate::load) fn open_found<F, T>(
    find: impl Fn() -> Result<F>,
    open: impl Fn(F) -> Result<T>,
) -> Result<T> {
    for _ in 1..MAX_TRIES {
        match open(find()?) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
    open(find()?)
}
