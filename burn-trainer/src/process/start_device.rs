//! Starts a device before anything is built on it, so that an unusable device is an error and not a panic.
//!
//! burn opens a device when it is first used, on a thread of the backend, and panics there. The panic's
//! messages come from two threads and do not list the machine's adapters, so they do not help a user who
//! chose the wrong backend.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use burn_ckpt::plumbing::panic_message;
use burn_environment::device_name;
use burn_environment::plumbing::software_renderer;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::process::console::warn;
use crate::process::progress::figures::span;
use crate::process::{last_panic, panic_hook};

/// How long a device may take to open and to compute a few numbers. Opening the cards of a large machine
/// takes some 20 seconds; a driver that hangs never answers.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Opens a device and computes a few numbers on it.
///
/// Call it before the model is made. While it runs, panics of other threads are not printed.
///
/// # Errors
///
/// [`Error::Device`] when the device cannot be opened (no adapter, a driver that is too old or not there, no
/// memory), computes wrongly, or has a driver that does not answer for a minute; it names the GPUs that were
/// found.
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
    let failed = |reason: String| {
        let reason = in_short(&reason);
        let found = burn_environment::gpus().iter().map(ToString::to_string).collect();
        Err(Error::Device { device: device_name(device), reason, found })
    };
    let device_of_thread = device.clone();
    let test = move || compute_test(&device_of_thread);
    first_panic(|| within(START_LIMIT, test)).flatten().or_else(failed)
}

/// Without the forty names by which a library was looked for.
fn in_short(reason: &str) -> String {
    match reason.split_once(" - searched for library names") {
        Some((what, _)) => format!("{what}: is the driver installed?"),
        None => reason.to_owned(),
    }
}

/// The result of `work`, which runs on a thread of its own. A thread that hangs in a driver cannot be ended:
/// it is left to itself after the limit. Panics where `work` does.
fn within(
    limit: Duration,
    work: impl FnOnce() -> std::result::Result<(), String> + Send + 'static,
) -> std::result::Result<(), String> {
    let (answer, answered) = sync_channel(1);
    let work = move || {
        // Who waits may have given up.
        let _ = answer.send(work());
    };
    let thread = thread::Builder::new().name("start-device".to_owned()).spawn(work);
    let thread = thread.map_err(|error| format!("no thread can be started: {error}"))?;
    match answered.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("its driver has not answered for {}", span(limit.as_secs_f64())))
        }
        // It panicked, and has dropped its end.
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => Err("its test ended without a result".to_owned()),
            Err(panic) => panic::resume_unwind(panic),
        },
    }
}

/// Says of each device that is a program on the processor what it is: a GPU was asked for, and none is used.
pub(crate) fn name_software(devices: &[Device]) {
    let mut named: Vec<String> = Vec::new();
    for device in devices {
        let Some(renderer) = software_renderer(device) else { continue };
        let line = format!(
            "{} is not a GPU but {renderer}, a program that computes as one on the processor; the backend flex is faster there",
            device_name(device)
        );
        if !named.contains(&line) {
            warn(&line);
            named.push(line);
        }
    }
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
    let _replacing = panic_hook::replacing();
    let first = Arc::new(Mutex::new(None));
    let hook = panic::take_hook();
    panic::set_hook(Box::new({
        let first = Arc::clone(&first);
        move |panic| {
            // It can be of another run, which asks for its message.
            last_panic::note(panic);
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
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    #[test]
    fn a_device_that_does_not_answer_is_given_up_and_one_that_panics_is_an_error_with_its_message() {
        assert_eq!(within(Duration::from_mins(1), || Ok(())), Ok(()));
        let (never, answers) = sync_channel::<()>(0);
        let hangs = move || answers.recv().map_err(|error| error.to_string());
        let error = within(Duration::from_millis(1), hangs).unwrap_err();
        assert!(error.contains("has not answered"), "{error}");
        drop(never);
        let error = first_panic(|| within(Duration::from_mins(1), || panic!("no adapter"))).unwrap_err();
        assert!(error.contains("no adapter"), "{error}");
    }

    #[test]
    fn a_library_that_is_not_there_is_named_without_all_its_names() {
        let reason = r#"Unable to dynamically load the "cuda" shared library - searched for library names: ["libcuda.so"]"#;
        let short = r#"Unable to dynamically load the "cuda" shared library: is the driver installed?"#;
        assert_eq!((in_short(reason), in_short("no adapter")), (short.to_owned(), "no adapter".to_owned()));
    }

    #[test]
    fn a_panic_of_another_run_while_a_device_starts_keeps_its_message() {
        struct Asks(Sender<Option<String>>);
        impl Drop for Asks {
            fn drop(&mut self) {
                self.0.send(last_panic::of_this_thread()).unwrap();
            }
        }
        let (asks, asked) = channel();
        let other = move || {
            let _asks = Asks(asks);
            panic!("of another run");
        };
        first_panic(|| thread::spawn(other).join().unwrap_err()).unwrap();
        assert_eq!(asked.recv().unwrap().as_deref(), Some("of another run"));
    }

    #[test]
    fn the_result_of_work_that_does_not_panic_is_returned() {
        assert_eq!(first_panic(|| 7), Ok(7));
    }
}
