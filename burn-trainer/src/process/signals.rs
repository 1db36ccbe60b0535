//! Signals: the first one asks the loop to stop after the step in progress and to save. A SIGINT after it ends the process
//! at once.
//!
//! Handlers are the process's, and training takes a part of its time. So the handlers are installed with the first run.
//! While no run is in progress they do what the system does by default. A program with handlers of its own turns these off
//! with the configuration's `handle_signals`.

#[cfg(unix)]
use unix as platform;

use std::time::{Duration, Instant};

use burn::train::Interrupter;

/// A signal that stopped training.
///
/// ```
/// fn ended_by<M>(result: &burn_trainer::FitResult<M>) -> Option<u8> {
///     result.stopped_by.map(|signal| signal.exit_status())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGHUP: the terminal was closed. Not handled where it is ignored, as under `nohup`.
    HangUp,
    /// SIGINT: ctrl-c.
    Interrupt,
    /// SIGTERM: what `kill`, service managers and batch systems send, Slurm before it preempts or cancels a job.
    Terminate,
    /// SIGUSR1: Slurm's warning before a time limit, as `--signal=USR1@120` asks for it.
    User1,
    /// SIGUSR2: the same with `--signal=USR2@120`.
    User2,
}

impl StopSignal {
    const ALL: [Self; 5] = [Self::HangUp, Self::Interrupt, Self::Terminate, Self::User1, Self::User2];

    /// The signal's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
        }
    }

    /// The signal that stopped a run, if one did.
    pub(crate) fn of(interrupter: &Interrupter) -> Option<Self> {
        let reason = interrupter.get_message().filter(|_| interrupter.should_stop())?;
        Self::ALL.into_iter().find(|signal| signal.name() == reason)
    }

    /// The exit status of a program that the signal stopped, by the shells' convention: 128 and the signal's number, so 130
    /// for SIGINT and 143 for SIGTERM.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        128 + self.number()
    }

    /// Whether a batch system sends it as a warning before a time limit, when the job asks for one.
    pub(crate) fn is_warning(self) -> bool {
        matches!(self, Self::User1 | Self::User2)
    }

    fn number(self) -> u8 {
        // POSIX fixes the first three. The others differ between Linux and the BSDs.
        let linux = cfg!(any(target_os = "linux", target_os = "android"));
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::User1 => {
                if linux {
                    10
                } else {
                    30
                }
            }
            Self::User2 => {
                if linux {
                    12
                } else {
                    31
                }
            }
        }
    }
}

/// How long the loop may wait for a save: without a limit, until a signal comes, and then for a limited time, since the
/// sender of the signal kills the process after a while.
pub(crate) struct SignalDeadline {
    interrupter: Interrupter,
    limit: Duration,
    signal_seen: Option<Instant>,
}

impl SignalDeadline {
    pub(crate) fn new(interrupter: Interrupter, limit: Duration) -> Self {
        Self { interrupter, limit, signal_seen: None }
    }

    /// Whether the loop may still wait. Called again and again while it waits.
    pub(crate) fn may_wait(&mut self) -> bool {
        if StopSignal::of(&self.interrupter).is_some() {
            return self.signal_seen.get_or_insert_with(Instant::now).elapsed() < self.limit;
        }
        true
    }
}

/// Stops a run on a signal, until this is dropped.
pub(crate) struct SignalWatch {
    #[cfg(unix)]
    run: Option<u64>,
}

impl SignalWatch {
    /// With `announce`, a signal is reported on standard error.
    pub(crate) fn start(interrupter: Interrupter, announce: bool) -> Self {
        #[cfg(unix)]
        return Self { run: platform::watch(interrupter, announce) };
        #[cfg(not(unix))]
        {
            let _ = (interrupter, announce);
            Self {}
        }
    }

    /// Watches nothing.
    pub(crate) fn off() -> Self {
        Self {
            #[cfg(unix)]
            run: None,
        }
    }

    /// Leaves the signals watched to the end of the process: they no longer end it.
    pub(crate) fn keep_until_exit(self) {
        std::mem::forget(self);
    }

    /// The first signal that came.
    pub(crate) fn received(&self) -> Option<StopSignal> {
        #[cfg(unix)]
        return self.run.and_then(platform::received);
        #[cfg(not(unix))]
        None
    }
}

#[cfg(unix)]
impl Drop for SignalWatch {
    fn drop(&mut self) {
        if let Some(run) = self.run {
            platform::unwatch(run);
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::HashMap;
    use std::ffi::c_int;
    use std::sync::OnceLock;

    use parking_lot::{Mutex, MutexGuard};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::{emulate_default_handler, exit};

    use super::{Interrupter, StopSignal};
    use crate::process::console::say;
    use crate::process::dashboard;

    /// The runs in progress: usually one.
    #[derive(Default)]
    struct Runs {
        next: u64,
        active: HashMap<u64, ActiveRun>,
    }

    struct ActiveRun {
        interrupter: Interrupter,
        announce: bool,
        received: Option<StopSignal>,
    }

    static RUNS: Mutex<Option<Runs>> = Mutex::new(None);
    static HANDLERS: OnceLock<bool> = OnceLock::new();

    fn runs() -> MutexGuard<'static, Option<Runs>> {
        RUNS.lock()
    }

    pub(super) fn watch(interrupter: Interrupter, announce: bool) -> Option<u64> {
        if !*HANDLERS.get_or_init(install) {
            return None;
        }
        let mut runs = runs();
        let runs = runs.get_or_insert_default();
        runs.next += 1;
        runs.active.insert(runs.next, ActiveRun { interrupter, announce, received: None });
        Some(runs.next)
    }

    pub(super) fn unwatch(run: u64) {
        if let Some(runs) = &mut *runs() {
            runs.active.remove(&run);
        }
    }

    pub(super) fn received(run: u64) -> Option<StopSignal> {
        runs().as_ref()?.active.get(&run)?.received
    }

    /// Starts the thread that receives signals. When that fails, signals have their default effect.
    fn install() -> bool {
        let handled = StopSignal::ALL.into_iter().filter(|signal| {
            // A program started with nohup is meant to outlive the terminal.
            *signal != StopSignal::HangUp || !is_ignored(*signal)
        });
        let started =
            Signals::new(handled.map(|signal| c_int::from(signal.number()))).and_then(|mut signals| {
                let receive = move || signals.forever().for_each(receive);
                std::thread::Builder::new().name("burn-trainer-signals".to_owned()).spawn(receive)
            });
        if let Err(error) = &started {
            log::warn!("signals will end the process without a save: {error}");
        }
        started.is_ok()
    }

    fn receive(number: c_int) {
        let Some(signal) = StopSignal::ALL.into_iter().find(|signal| c_int::from(signal.number()) == number)
        else {
            return;
        };
        let mut runs = runs();
        let active = &mut runs.get_or_insert_default().active;
        let in_progress = !active.is_empty();
        let mut is_first = false;
        for run in active.values_mut().filter(|run| run.received.is_none()) {
            is_first = true;
            run.received = Some(signal);
            run.interrupter.stop(Some(signal.name()));
            if run.announce {
                announce(signal);
            }
        }
        drop(runs);
        if !in_progress {
            dashboard::leave();
            let _ = emulate_default_handler(number);
        } else if signal == StopSignal::Interrupt && !is_first {
            dashboard::leave();
            exit(i32::from(signal.exit_status()));
        }
    }

    /// Reports what a signal will do. Writing can block for ever when nobody reads the pipe. So it has a thread of its own,
    /// and neither the next signal nor the end of training waits for it.
    fn announce(signal: StopSignal) {
        let line = format!(
            "{}: saving after the step in progress (SIGINT, that is ctrl-c, ends at once)",
            signal.name()
        );
        let _ = std::thread::Builder::new().name("burn-trainer-say".to_owned()).spawn(move || say(&line));
    }

    /// Whether the process was started with the signal ignored. `false` where the system does not say.
    fn is_ignored(signal: StopSignal) -> bool {
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::consts;

    #[test]
    fn the_numbers_are_those_of_the_system() {
        let numbers = StopSignal::ALL.map(|signal| i32::from(signal.number()));
        let expected = [consts::SIGHUP, consts::SIGINT, consts::SIGTERM, consts::SIGUSR1, consts::SIGUSR2];
        assert_eq!(numbers, expected);
        assert_eq!(StopSignal::Interrupt.exit_status(), 130);
        assert_eq!(StopSignal::Terminate.exit_status(), 143);
    }
}
