//! The thread that collects an [`Environment`] while training starts, and the one place that waits
//! for it.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Environment;

/// Name of the collecting thread, as a debugger or `top -H` shows it.
const THREAD_NAME: &str = "burn-environment";

/// How long after its start a probe is waited for. Loading a driver for many idle GPUs takes
/// seconds; a wedged driver never answers, and a checkpoint must not wait for it forever.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// An [`Environment`] that is being collected in the background.
///
/// [`start`](Self::start) returns at once. [`get`](Self::get) is for the checkpoint writer's
/// thread: its first call waits for the result, later ones copy it.
///
/// | what happens to the collecting thread | what `get` returns |
/// | --- | --- |
/// | it ends | its result |
/// | it panics, or cannot be started | the build's own facts, everything else `None` or empty |
/// | it hangs for more than 30 s | the same, until it ends after all |
///
/// Dropping a probe neither waits for its thread nor stops it.
#[derive(Debug)]
pub struct EnvironmentProbe {
    state: Mutex<State>,
}

/// What a probe knows so far.
#[derive(Debug)]
enum State {
    Collecting { result: Receiver<Environment>, wait_until: Instant },
    Known(Box<Environment>),
}

impl EnvironmentProbe {
    /// Starts collecting on a thread of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Environment::collect)
    }

    /// The environment, waited for by the first call.
    #[must_use]
    pub fn get(&self) -> Environment {
        // A panic cannot leave a half-written state behind, so a poisoned lock is as good as any.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = match &*state {
            State::Known(environment) => return Environment::clone(environment),
            State::Collecting { result, wait_until } => {
                let remaining = wait_until.saturating_duration_since(Instant::now());
                match result.recv_timeout(remaining) {
                    Ok(environment) => environment,
                    Err(RecvTimeoutError::Disconnected) => Environment::unknown(),
                    // Not kept: a later checkpoint may have better luck, and no longer waits.
                    Err(RecvTimeoutError::Timeout) => return Environment::unknown(),
                }
            }
        };
        *state = State::Known(Box::new(environment.clone()));
        environment
    }

    /// Starts a thread that runs `collect`.
    fn start_with(collect: impl FnOnce() -> Environment + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let work = move || {
            // Nobody listens once the probe is dropped, and nobody misses the result then.
            let _ = sender.send(collect());
        };
        let started: io::Result<_> = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(work);
        match started {
            // Detached: the channel tells all there is to know, a panic included.
            Ok(_thread) => Self::receiving(receiver, Instant::now() + WAIT_LIMIT),
            Err(_) => Self { state: Mutex::new(State::Known(Box::new(Environment::unknown()))) },
        }
    }

    /// A probe whose result comes from `result`, waited for until `wait_until`.
    fn receiving(result: Receiver<Environment>, wait_until: Instant) -> Self {
        Self { state: Mutex::new(State::Collecting { result, wait_until }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(hostname: &str) -> Environment {
        let mut environment = Environment::default();
        environment.os.hostname = Some(hostname.to_owned());
        environment
    }

    #[test]
    fn a_started_probe_returns_what_collecting_returns() {
        assert_eq!(EnvironmentProbe::start().get().hardware, Environment::collect().hardware);
    }

    #[test]
    fn the_result_is_collected_once_on_the_named_thread_and_kept() {
        let probe =
            EnvironmentProbe::start_with(|| named(thread::current().name().expect("the thread has a name")));
        // The closure can run only once, so equal answers mean that the first was kept.
        assert_eq!(probe.get(), named("burn-environment"));
        assert_eq!(probe.get(), named("burn-environment"));
    }

    #[test]
    fn starting_does_not_wait_for_the_result() {
        let (release, blocked) = mpsc::channel();
        // Were `start_with` to wait, this test would never reach the line that lets the thread go
        // on.
        let probe = EnvironmentProbe::start_with(move || blocked.recv().unwrap());
        release.send(named("late")).unwrap();
        assert_eq!(probe.get(), named("late"));
    }

    #[test]
    fn a_panic_while_collecting_becomes_an_environment_with_unknown_parts() {
        let probe = EnvironmentProbe::start_with(|| panic!("a broken driver (part of the test)"));
        let environment = probe.get();
        assert_eq!(environment, Environment::unknown());
        assert_eq!(environment.hardware.cpu_count, None);
        assert_eq!(environment.hardware.gpu_count, None);
        assert_eq!(environment.git, None);
        assert_ne!(environment.rust.target, None);
        assert_eq!(probe.get(), environment);
    }

    #[test]
    fn a_result_that_is_late_is_done_without_and_taken_once_it_comes() {
        let (sender, receiver) = mpsc::channel();
        let probe = EnvironmentProbe::receiving(receiver, Instant::now());
        assert_eq!(probe.get(), Environment::unknown());
        sender.send(named("late")).unwrap();
        assert_eq!(probe.get(), named("late"));
        drop(sender);
        assert_eq!(probe.get(), named("late"));
    }

    #[test]
    fn threads_that_ask_at_the_same_time_get_the_same_answer() {
        let probe = EnvironmentProbe::start_with(|| named("shared"));
        thread::scope(|scope| {
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| probe.get())).collect();
            for asker in askers {
                assert_eq!(asker.join().unwrap(), named("shared"));
            }
        });
    }
}
