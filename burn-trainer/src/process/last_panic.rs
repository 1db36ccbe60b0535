//! The message of a thread's last panic, for code that runs while the thread unwinds.
//!
//! burn joins some of its threads in destructors and drops what they panicked with. A destructor of ours on
//! such a thread can read the message here. Nothing but a panic hook gets it.

use std::cell::RefCell;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;

use burn_ckpt::plumbing::panic_message;
use parking_lot::Mutex;

use crate::process::panic_hook;

/// How cubecl names the threads on which its devices work.
const DEVICE_THREADS: &str = "DS";
/// The most messages of them that are kept.
const MAX_OF_DEVICES: usize = 16;

static OF_DEVICES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Starts noting the messages, in front of the hook that is there. burn's own hooks call the hook before
/// them.
pub(crate) fn note_messages() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _replacing = panic_hook::replacing();
        let before = take_hook();
        set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
}

/// Notes the message of a panic of this thread. A hook that takes the place of all others for a while calls
/// it.
pub(crate) fn note(info: &PanicHookInfo<'_>) {
    let message = panic_message(info.payload());
    if std::thread::current().name().is_some_and(|name| name.starts_with(DEVICE_THREADS)) {
        let mut messages = OF_DEVICES.lock();
        messages.truncate(MAX_OF_DEVICES - 1);
        messages.push(message.clone());
    }
    // It cannot be reached while the thread's last values are destroyed.
    let _ = LAST.try_with(|last| last.replace(Some(message)));
}

/// The message of the panic by which this thread unwinds now.
pub(crate) fn of_this_thread() -> Option<String> {
    std::thread::panicking().then(|| LAST.try_with(|last| last.borrow().clone()).ok().flatten()).flatten()
}

/// The messages of the threads of devices, and begins with none. cubecl drops the panic of what it does later
/// (an allocation, a kernel): what is read then fails for another reason.
pub(crate) fn take_of_devices() -> Vec<String> {
    std::mem::take(&mut OF_DEVICES.lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_panics_of_a_devices_thread_are_kept() {
        note_messages();
        for (name, message) in [("DSU-0-0", "of a device"), ("worker", "of another thread")] {
            let thread = std::thread::Builder::new().name(name.to_owned());
            assert!(thread.spawn(move || panic!("{message}")).unwrap().join().is_err());
        }
        assert_eq!(take_of_devices(), ["of a device"]);
        assert_eq!(take_of_devices(), Vec::<String>::new());
    }
}
