//! Starting a device before anything is built on it, so that one that cannot be used is an error and no panic.
//!
//! burn opens a device when it is first used, on a thread of the backend's, and panics there. What is said then, in two
//! threads and without the machine's adapters, helps nobody who only chose the wrong backend.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};
use burn_ckpt::plumbing::panic_message;

use crate::error::{Error, Result};

/// The panic hook is the process's: two threads must not exchange it at a time.
static HOOK: Mutex<()> = Mutex::new(());

/// Opens a device and computes a little on it.
///
/// A program calls it before it makes its model. While it works, panics of other threads are not printed either.
///
/// # Errors
///
/// [`Error::Device`] when the device cannot be opened (no adapter, a driver that is too old or not there, no memory) or
/// computes wrongly; it names the GPUs that were found.
///
/// # Example
///
/// ```no_run
/// # fn run() -> burn_trainer::Result<()> {
/// let device = burn::tensor::Device::default();
/// burn_trainer::process::start_device(&device)?;
/// # Ok(()) }
/// ```
pub fn start_device(device: &Device) -> Result<()> {
    let failed = |reason| {
        let found = burn_environment::gpus().iter().map(ToString::to_string).collect();
        Err(Error::Device { device: format!("{device:?}"), reason, found })
    };
    first_panic(|| answer(device)).flatten().or_else(failed)
}

/// Has the device compute twice one and two, and looks at the result. May panic or hang where the device does.
pub(crate) fn answer(device: &Device) -> std::result::Result<(), String> {
    let data = (Tensor::<1>::from_floats([1.0, 2.0], device) * 2.0).try_into_data();
    let numbers: Vec<f32> = data.map_err(|error| error.to_string())?.iter().collect();
    if numbers == [2.0, 4.0] { Ok(()) } else { Err(format!("it computes 2 * [1, 2] = {numbers:?}")) }
}

/// What `work` returns; or, if it panics, the message of the first panic in any thread, which is the cause of the others.
/// None of them is printed.
pub(crate) fn first_panic<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let first = Arc::new(Mutex::new(None));
    let hook = panic::take_hook();
    panic::set_hook(Box::new({
        let first = Arc::clone(&first);
        move |panic| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| panic_message(panic.payload()));
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.map_err(|panic| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| panic_message(&*panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_panic_is_returned() {
        assert_eq!(first_panic(|| 7), Ok(7));
    }
}
