//! Calling readers of foreign formats, which can panic on invalid files. A panic becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Runs a reader. A panic is returned as its message, and not printed.
pub fn catch_panics<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Unwind safe: after a panic the reader is dropped, so that its broken state is not used.
    let printing = take_hook();
    set_hook(Box::new(|_| ()));
    let result = catch_unwind(AssertUnwindSafe(read));
    set_hook(printing);
    result.unwrap_or_else(|payload| {
        Err(format!("the reader failed: {}", burn_ckpt::plumbing::panic_message(payload.as_ref())))
    })
}
