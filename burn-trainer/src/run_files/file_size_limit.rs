//! The limit of a file's size (`ulimit -f`). A write beyond it ends the process by SIGXFSZ, unless the signal
//! has a handler: then the write fails with an error, as on a full disk.

/// Gives SIGXFSZ a handler that does nothing. A handler of the program's own is called after it.
pub(crate) fn make_it_an_error() {
    #[cfg(unix)]
    {
        use std::sync::atomic::AtomicBool;
        use std::sync::{Arc, OnceLock};

        static REGISTERED: OnceLock<()> = OnceLock::new();
        REGISTERED.get_or_init(|| {
            let seen = Arc::new(AtomicBool::new(false));
            if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen) {
                log::warn!(
                    "a file that reaches the limit of its size (ulimit -f) will end the process: {error}"
                );
            }
        });
    }
}
