//! The signals that end the watch.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::verb_result::Failure;

/// How soon a signal is seen.
const POLL: Duration = Duration::from_millis(20);

/// The signal that has come, if one has.
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Has the signals that end a program noted from now on.
    pub fn on_signals() -> Result<Self, Failure> {
        let signal = Arc::new(AtomicUsize::new(0));
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
            for number in [SIGHUP, SIGINT, SIGTERM] {
                let noted = usize::try_from(number).unwrap_or_default();
                signal_hook::flag::register_usize(number, Arc::clone(&signal), noted)
                    .map_err(|error| Failure::Other(format!("signals cannot be handled: {error}")))?;
            }
        }
        Ok(Self(signal))
    }

    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Waits, but not longer than until a signal comes.
    pub fn wait(&self, time: Duration) {
        let begun = Instant::now();
        while !self.is_requested() {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            sleep(left.min(POLL));
        }
    }

    /// Has a program end that this one waits for. One of a terminal has got ctrl-c itself, and gets this too.
    pub fn pass_on(&self, child: &mut Child) -> std::io::Result<()> {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process};
            // It is this process's child, and not waited for: so the number is still its own.
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process(pid, Signal::TERM)?;
            }
            Ok(())
        }
        #[cfg(not(unix))]
        {
            child.kill()
        }
    }

    /// Ends the program as the signal does, if one has come.
    pub fn end(&self) {
        let signal = self.0.load(Ordering::Relaxed);
        if signal != 0 {
            std::process::exit(128 + i32::try_from(signal).unwrap_or_default());
        }
    }
}
