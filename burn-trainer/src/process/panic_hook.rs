//! The process's panic hook, which several parts of this crate replace, on the threads of several runs.

use parking_lot::{Mutex, MutexGuard};

/// Held while the hook is replaced. A thread that takes the hook, and then sets one around it or sets it
/// back, would otherwise drop for good what another thread has set in between.
pub(crate) fn replacing() -> MutexGuard<'static, ()> {
    static REPLACED: Mutex<()> = Mutex::new(());
    REPLACED.lock()
}

#[cfg(test)]
mod tests {
    use std::panic::{set_hook, take_hook};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;
    use crate::process::start_device::first_panic;

    #[test]
    fn a_hook_that_is_set_while_a_device_starts_stays() {
        let panics = Arc::new(AtomicUsize::new(0));
        let (tries, tried) = mpsc::channel();
        let counted = Arc::clone(&panics);
        let set = move || {
            tries.send(()).unwrap();
            let _replacing = replacing();
            let before = take_hook();
            set_hook(Box::new(move |panic| {
                counted.fetch_add(1, Ordering::SeqCst);
                before(panic);
            }));
        };
        let setting = first_panic(|| {
            let setting = thread::spawn(set);
            tried.recv().unwrap();
            // Without the lock it is set by now.
            thread::sleep(std::time::Duration::from_millis(50));
            setting
        });
        setting.unwrap().join().unwrap();
        let before = panics.load(Ordering::SeqCst);
        // Another test may start a device.
        let _replacing = replacing();
        thread::spawn(|| panic!("it was told to")).join().unwrap_err();
        assert!(panics.load(Ordering::SeqCst) > before);
    }
}
