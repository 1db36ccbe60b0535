//! The message of a thread's last panic, for code that runs while the thread unwinds.
//!
//! burn joins some of its threads in destructors and drops what they panicked with. A destructor of ours on such a thread can
//! read the message here. Nothing but a panic hook gets it.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

use burn_ckpt::plumbing::panic_message;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Starts noting the messages, in front of the hook that is there. burn's own hooks call the hook before them.
pub(crate) fn note_messages() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            // It cannot be reached while the thread's last values are destroyed.
            let _ = LAST.try_with(|last| last.replace(Some(panic_message(info.payload()))));
            before(info);
        }));
    });
}

/// The message of the panic by which this thread unwinds now.
pub(crate) fn of_this_thread() -> Option<String> {
    std::thread::panicking().then(|| LAST.try_with(|last| last.borrow().clone()).ok().flatten()).flatten()
}
