//! Calls into readers of other people's formats, in which a panic is possible: here it is an error like any other.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Runs a reader. A panic is returned as its message, and not printed.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a reader leaves behind after a panic is dropped, so that nobody sees a state that it broke.
    let printing = take_hook();
    set_hook(Box::new(|_| ()));
    let result = catch_unwind(AssertUnwindSafe(read));
    set_hook(printing);
    result.unwrap_or_else(|payload| {
        Err(format!("the reader failed: {}", burn_ckpt::plumbing::panic_message(payload.as_ref())))
    })
}
