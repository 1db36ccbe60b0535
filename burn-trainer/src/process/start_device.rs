//! Starts a device before anything is built on it, so that an unusable device is an error and not a panic.
//!
//! burn opens a device when it is first used, on a thread of the backend, and panics there. The panic's
//! messages come from two threads and do not list the machine's adapters, so they do not help a user who
//! chose the wrong backend.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_ckpt::plumbing::panic_message;
use burn_environment::device_name;
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Held while the process's panic hook is replaced.
static HOOK: Mutex<()> = Mutex::new(());

/// Opens a device and computes a few numbers on it.
///
/// Call it before the model is made. While it runs, panics of other threads are not printed.
///
/// # Errors
///
/// [`Error::Device`] when the device cannot be opened (no adapter, a driver that is too old or not there, no
/// memory) or computes wrongly; it names the GPUs that were found.
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
        Err(Error::Device { device: device_name(device), reason, found })
    };
    first_panic(|| compute_test(device)).flatten().or_else(failed)
}

/// Has the device compute `2 * [1, 2]`, and checks the result. Panics or hangs where the device does.
pub(crate) fn compute_test(device: &Device) -> std::result::Result<(), String> {
    let data = (Tensor::<1>::from_floats([1.0, 2.0], device) * 2.0).try_into_data();
    let numbers: Vec<f32> = data.map_err(|error| error.to_string())?.iter().collect();
    if numbers == [2.0, 4.0] { Ok(()) } else { Err(format!("it computes 2 * [1, 2] = {numbers:?}")) }
}

/// Runs `work`. When it panics, the error is the message of the first panic in any thread, which is the cause
/// of the others. Panics are not printed.
pub(crate) fn first_panic<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let _one_at_a_time = HOOK.lock();
    let first = Arc::new(Mutex::new(None));
    let hook = panic::take_hook();
    panic::set_hook(Box::new({
        let first = Arc::clone(&first);
        move |panic| {
            let mut first = first.lock();
            first.get_or_insert_with(|| panic_message(panic.payload()));
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.map_err(|panic| {
        let first = first.lock().take();
        first.unwrap_or_else(|| panic_message(&*panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_work_that_does_not_panic_is_returned() {
        assert_eq!(first_panic(|| 7), Ok(7));
    }
}
