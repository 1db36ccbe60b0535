//! What a signal does in this process: its default, nothing, or a save and a stop.

// The system tells in C.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// The signals on which runs save and stop.
static STOPS_RUNS: OnceLock<Vec<c_int>> = OnceLock::new();

/// Notes the signals on which runs save and stop. Later calls do nothing.
pub(super) fn set_stops_runs(signals: Vec<c_int>) {
    let _ = STOPS_RUNS.set(signals);
}

/// Whether runs save and stop on it.
#[cfg(feature = "tui")]
pub(crate) fn stops_runs(signal: c_int) -> bool {
    STOPS_RUNS.get().is_some_and(|signals| signals.contains(&signal))
}

/// Whether the process was started with the signal ignored: SIGHUP under `nohup`, SIGINT in `program &` of a
/// script. Runs leave such a signal alone, whatever the [`TrainerConfig`](crate::TrainerConfig) says.
#[must_use]
pub fn is_ignored(signal: c_int) -> bool {
    handler(signal) == Some(libc::SIG_IGN)
}

/// Whether it is neither ignored nor handled.
#[cfg(feature = "tui")]
pub(crate) fn has_default_effect(signal: c_int) -> bool {
    handler(signal) == Some(libc::SIG_DFL)
}

fn handler(signal: c_int) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one. All zeros are one, too.
    let action = unsafe {
        let failed = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        (failed == 0).then(|| action.assume_init())
    };
    action.map(|action| action.sa_sigaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_neither_handled_nor_left_to_the_system_is_ignored() {
        // A program of Rust is begun with SIGPIPE ignored.
        assert_eq!([libc::SIGPIPE, libc::SIGUSR2, -1].map(is_ignored), [true, false, false]);
    }
}
