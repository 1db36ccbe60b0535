//! Gives the terminal back where the process ends or stops in another way than by the end of training: by a
//! signal that nothing else handles, by ctrl-z, or by an `exit` in the middle of training.

// The C library calls at the end of the process.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::process::signals::disposition::{has_default_effect, stops_runs};

/// Those that end or stop a process by default. A run that handles signals has most of them already.
const SIGNALS: [c_int; 6] = [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP];

/// How long an exit waits for a terminal that hangs.
const LIMIT: Duration = Duration::from_secs(3);

/// The signals that are watched here.
static WATCHED: OnceLock<Vec<c_int>> = OnceLock::new();
static WAYS_BACK: OnceLock<WaysBack> = OnceLock::new();

/// How the terminal is given back.
#[derive(Debug)]
pub(super) struct WaysBack {
    /// When the process ends.
    pub(super) leave: fn(),
    /// When it is stopped, and may be continued.
    pub(super) suspend: fn(),
    /// Whether there is anything to give back.
    pub(super) is_drawn: fn() -> bool,
}

/// Watches from the first call on. Returns whether ctrl-z may stop the process.
pub(super) fn watch(ways_back: WaysBack) -> bool {
    let _ = WAYS_BACK.set(ways_back);
    WATCHED.get_or_init(start).contains(&SIGTSTP)
}

fn start() -> Vec<c_int> {
    // SAFETY: the function is there as long as the process is, and does not unwind.
    if unsafe { libc::atexit(at_exit) } != 0 {
        log::warn!("an exit in the middle of training would leave the dashboard on the terminal");
    }
    let watched: Vec<c_int> = SIGNALS.into_iter().filter(|signal| has_default_effect(*signal)).collect();
    let started = Signals::new(&watched).and_then(|mut signals| {
        let receive = move || signals.forever().for_each(receive);
        Builder::new().name("burn-trainer-terminal".to_owned()).spawn(receive)
    });
    match started {
        Ok(_) => watched,
        Err(error) => {
            log::warn!("a signal that ends the program would leave the dashboard on the terminal: {error}");
            Vec::new()
        }
    }
}

fn receive(signal: c_int) {
    // A later run may save and stop on it.
    if stops_runs(signal) {
        return;
    }
    if let Some(WaysBack { leave, suspend, .. }) = WAYS_BACK.get() {
        if signal == SIGTSTP { suspend() } else { leave() }
    }
    let _ = emulate_default_handler(signal);
}

/// On another thread: what the logger keeps for each thread is gone for the one that exits.
extern "C" fn at_exit() {
    let Some(WaysBack { leave, is_drawn, .. }) = WAYS_BACK.get() else { return };
    let (done, left) = channel();
    let leave = move || {
        leave();
        let _ = done.send(());
    };
    if is_drawn() && Builder::new().name("burn-trainer-exit".to_owned()).spawn(leave).is_ok() {
        let _ = left.recv_timeout(LIMIT);
    }
}
