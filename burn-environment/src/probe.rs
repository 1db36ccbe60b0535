//! The thread that collects an [`Environment`] while training runs, and the one place that waits for it.
//!
//! ```text
//! start ──► thread: everything but GPUs, NVIDIA's library ──► waits ──► asks the other drivers of GPUs
//! loop:       opens its devices, first step ──────► devices() ───┘            │
//! writer:                                                 get() ◄─────────────┘
//! ```
//!
//! Those come last because asking them while burn opens a device can crash the process (see [`gpus`]).
//!
//! [`gpus`]: crate::gpus

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use parking_lot::Mutex;

use crate::environment::Environment;
use crate::gpu::{WAIT_LIMIT, ask_nvml};
use crate::hardware::GpusOfRun;

/// Name of the collecting thread, as a debugger or `top -H` shows it.
const THREAD_NAME: &str = "burn-environment";

/// How long a probe that is dropped waits for drivers that are being asked.
const DROP_LIMIT: Duration = Duration::from_secs(2);

/// An [`Environment`] that is being collected in the background.
///
/// [`start`](Self::start) and [`devices`](Self::devices) return at once. [`get`](Self::get) is for the
/// checkpoint writer's thread: it waits for what is not known yet.
///
/// | what happens to the collecting thread | what `get` returns |
/// | --- | --- |
/// | it ends | its result |
/// | it panics, or cannot be started | the build's own facts, and what was collected before; the rest `None` or empty |
/// | a part of it takes more than 10 s | the same, until it ends after all |
///
/// Dropping a probe stops nothing. While drivers are being asked, it waits for at most two seconds: a program
/// that ends meanwhile can crash in a driver.
///
/// ```no_run
/// let probe = burn_environment::EnvironmentProbe::start(); // collects on a thread of its own
/// ```
#[derive(Debug)]
pub struct EnvironmentProbe {
    /// Tells the thread to ask for the GPUs, and which devices are in use.
    look: Sender<Vec<Device>>,
    /// Since when it is told.
    told: OnceLock<Instant>,
    started: Instant,
    state: Mutex<State>,
}

/// What a probe knows so far.
#[derive(Debug)]
struct State {
    found: Receiver<Found>,
    environment: Option<Box<Environment>>,
    gpus: Option<GpusOfRun>,
}

/// What the thread has found.
#[derive(Debug)]
enum Found {
    Environment(Box<Environment>),
    Gpus(GpusOfRun),
}

impl EnvironmentProbe {
    /// Starts collecting on a thread of its own, all but the GPUs.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Environment::without_gpus, ask_nvml, GpusOfRun::look)
    }

    /// Tells which devices are in use, and starts the search for GPUs. Call it once these devices are open:
    /// they have computed something, or their identity was asked for.
    pub fn devices(&self, used: Vec<Device>) {
        self.told.get_or_init(Instant::now);
        // A thread that is gone looks for nothing.
        let _ = self.look.send(used);
    }

    /// The environment. The first call waits for it, at most 10 seconds for each part. Later calls do not
    /// wait for a part that is late already. Where [`devices`](Self::devices) was not called before, no
    /// device is in use.
    #[must_use]
    pub fn get(&self) -> Environment {
        let told = *self.told.get_or_init(|| {
            let _ = self.look.send(Vec::new());
            Instant::now()
        });
        let mut state = self.state.lock();
        state.receive(self.started + WAIT_LIMIT, |state| state.environment.is_some());
        state.receive(told + WAIT_LIMIT, |state| state.gpus.is_some());
        let mut environment =
            state.environment.as_deref().map_or_else(Environment::unknown, Environment::clone);
        if let Some(gpus) = &state.gpus {
            environment.hardware.add(gpus.clone());
        }
        environment
    }

    /// Starts a thread that collects a part, does what can be done before it is told, waits until it is, and
    /// looks for the GPUs.
    fn start_with(
        collect: impl FnOnce() -> Environment + Send + 'static,
        warm_up: impl FnOnce() + Send + 'static,
        look_for_gpus: impl Fn(&[Device]) -> GpusOfRun + Send + 'static,
    ) -> Self {
        let (look, wanted) = mpsc::channel::<Vec<Device>>();
        let (sender, found) = mpsc::channel();
        let work = move || {
            // The receiver is gone once the probe is dropped, and the result is not needed then.
            let _ = sender.send(Found::Environment(Box::new(collect())));
            warm_up();
            for used in wanted {
                let _ = sender.send(Found::Gpus(look_for_gpus(&used)));
            }
        };
        // Detached: the channels tell all there is to know, a panic and a thread that cannot be started
        // included.
        let _started: io::Result<_> = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(work);
        let state = State { found, environment: None, gpus: None };
        Self { look, told: OnceLock::new(), started: Instant::now(), state: Mutex::new(state) }
    }
}

impl State {
    /// Takes what has been found, and waits for more until there is enough or it is late.
    fn receive(&mut self, until: Instant, is_enough: impl Fn(&Self) -> bool) {
        loop {
            let wait = match is_enough(self) {
                // There may be something newer.
                true => Duration::ZERO,
                false => until.saturating_duration_since(Instant::now()),
            };
            match self.found.recv_timeout(wait) {
                Ok(Found::Environment(environment)) => self.environment = Some(environment),
                Ok(Found::Gpus(gpus)) => self.gpus = Some(gpus),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl Drop for EnvironmentProbe {
    fn drop(&mut self) {
        let Some(told) = self.told.get().copied() else { return };
        let mut state = self.state.lock();
        // A driver that was too late for a checkpoint is not waited for here either.
        let until = (told + WAIT_LIMIT).min(Instant::now() + DROP_LIMIT);
        state.receive(until, |state| state.gpus.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::GpuDevice;

    fn named(hostname: &str) -> Environment {
        let mut environment = Environment::default();
        environment.os.hostname = Some(hostname.to_owned());
        environment
    }

    fn gpus(name: &str) -> GpusOfRun {
        let gpu = GpuDevice { name: Some(name.to_owned()), ..GpuDevice::default() };
        GpusOfRun { devices: vec![gpu], used: Vec::new() }
    }

    fn no_gpus(_: &[Device]) -> GpusOfRun {
        GpusOfRun::default()
    }

    /// A probe whose thread's messages are sent by the test, and whose waiting is over.
    fn late() -> (EnvironmentProbe, Sender<Found>, Receiver<Vec<Device>>) {
        let (look, wanted) = mpsc::channel();
        let (sender, found) = mpsc::channel();
        let started = Instant::now().checked_sub(WAIT_LIMIT).unwrap();
        let state = Mutex::new(State { found, environment: None, gpus: None });
        (EnvironmentProbe { look, told: OnceLock::from(started), started, state }, sender, wanted)
    }

    #[test]
    fn a_started_probe_returns_what_collecting_returns() {
        assert_eq!(EnvironmentProbe::start().get().hardware, Environment::collect().hardware);
    }

    #[test]
    fn the_result_is_collected_once_on_the_named_thread_and_kept() {
        let collect = || named(thread::current().name().expect("the thread has a name"));
        let probe = EnvironmentProbe::start_with(collect, || {}, no_gpus);
        // The closure can run only once, so equal answers mean that the first was kept.
        assert_eq!(probe.get().os, named("burn-environment").os);
        assert_eq!(probe.get().os, named("burn-environment").os);
    }

    #[test]
    fn neither_starting_nor_telling_waits_for_the_result() {
        let (release, blocked) = mpsc::channel();
        let (release_gpus, blocked_gpus) = mpsc::channel();
        // Were `start_with` or `devices` to wait, this test would never reach the lines that let the thread
        // continue.
        let probe = EnvironmentProbe::start_with(
            move || blocked.recv().unwrap(),
            || {},
            move |_| blocked_gpus.recv().unwrap(),
        );
        probe.devices(Vec::new());
        release.send(named("late")).unwrap();
        release_gpus.send(gpus("late")).unwrap();
        let environment = probe.get();
        assert_eq!(environment.os, named("late").os);
        assert_eq!(environment.hardware.gpu_devices, gpus("late").devices);
        assert_eq!(environment.hardware.gpu_count, Some(1));
    }

    #[test]
    fn gpus_are_looked_for_when_the_devices_are_told_and_not_before() {
        let (asked, asking) = mpsc::channel();
        let probe = EnvironmentProbe::start_with(
            || named("a"),
            || {},
            move |used| {
                asked.send(used.len()).unwrap();
                gpus("found")
            },
        );
        // The first part has come, and the thread waits.
        probe.state.lock().receive(Instant::now() + WAIT_LIMIT, |state| state.environment.is_some());
        assert!(asking.try_recv().is_err());
        probe.devices(vec![Device::default()]);
        assert_eq!(asking.recv(), Ok(1));
        assert_eq!(probe.get().hardware.gpu_count, Some(1));
    }

    #[test]
    fn who_asks_before_the_devices_are_told_gets_gpus_too_and_later_the_devices() {
        let probe = EnvironmentProbe::start_with(
            || named("a"),
            || {},
            |used| GpusOfRun { used: used.iter().map(|_| "used".to_owned()).collect(), ..gpus("found") },
        );
        let early = probe.get();
        assert_eq!((early.hardware.gpu_count, early.hardware.devices_used.len()), (Some(1), 0));
        probe.devices(vec![Device::default()]);
        probe.state.lock().receive(Instant::now() + WAIT_LIMIT, |state| {
            state.gpus.as_ref().is_some_and(|gpus| !gpus.used.is_empty())
        });
        assert_eq!(probe.get().hardware.devices_used, ["used"]);
    }

    #[test]
    fn a_panic_while_collecting_becomes_an_environment_with_unknown_parts() {
        let probe = EnvironmentProbe::start_with(
            || panic!("a broken system (part of the test)"),
            || {},
            |_| gpus("a"),
        );
        let environment = probe.get();
        assert_eq!(environment, Environment::unknown());
        assert_eq!(environment.hardware.cpu_count, None);
        assert_eq!(environment.hardware.gpu_count, None);
        assert_eq!(environment.git, None);
        assert_ne!(environment.rust.target, None);
        assert_eq!(probe.get(), environment);
    }

    #[test]
    fn a_panic_in_a_driver_leaves_only_the_gpus_unknown() {
        let probe = EnvironmentProbe::start_with(
            || named("a"),
            || {},
            |_| panic!("a broken driver (part of the test)"),
        );
        assert_eq!(probe.get(), named("a"));
        assert_eq!(probe.get().hardware.gpu_count, None);
    }

    #[test]
    fn a_library_that_hangs_at_once_holds_up_only_the_gpus() {
        let (_never, forever) = mpsc::channel::<()>();
        let hang = move || {
            let _ = forever.recv();
        };
        let mut probe = EnvironmentProbe::start_with(|| named("a"), hang, |_| gpus("a"));
        // As if it had been told long ago.
        probe.told = OnceLock::from(Instant::now().checked_sub(WAIT_LIMIT).unwrap());
        assert_eq!(probe.get(), named("a"));
    }

    #[test]
    fn a_driver_that_never_answers_leaves_only_the_gpus_unknown() {
        let (probe, sender, _wanted) = late();
        sender.send(Found::Environment(Box::new(named("a")))).unwrap();
        assert_eq!(probe.get(), named("a"));
    }

    #[test]
    fn a_result_that_is_late_is_done_without_and_taken_once_it_comes() {
        let (probe, sender, _wanted) = late();
        assert_eq!(probe.get(), Environment::unknown());
        sender.send(Found::Environment(Box::new(named("late")))).unwrap();
        assert_eq!(probe.get(), named("late"));
        sender.send(Found::Gpus(gpus("later"))).unwrap();
        assert_eq!(probe.get().hardware.gpu_devices, gpus("later").devices);
        drop(sender);
        assert_eq!(probe.get().hardware.gpu_devices, gpus("later").devices);
    }

    #[test]
    fn a_probe_that_goes_away_waits_for_drivers_that_are_being_asked_and_for_nothing_else() {
        let (asked, asking) = mpsc::channel();
        let (release, blocked) = mpsc::channel::<()>();
        let probe = EnvironmentProbe::start_with(
            || named("a"),
            || {},
            move |_| {
                asked.send(()).unwrap();
                let _ = blocked.recv();
                asked.send(()).unwrap();
                gpus("a")
            },
        );
        probe.devices(Vec::new());
        asking.recv().unwrap();
        let dropping = thread::spawn(move || drop(probe));
        drop(release);
        dropping.join().unwrap();
        assert!(asking.try_recv().is_ok(), "it was dropped while the driver was asked");
        // Without a call of `devices` no driver is asked: a probe that waited here would never end.
        let (_never, forever) = mpsc::channel::<Environment>();
        drop(EnvironmentProbe::start_with(move || forever.recv().unwrap_or_default(), || {}, no_gpus));
    }

    #[test]
    fn threads_that_ask_at_the_same_time_get_the_same_answer() {
        let probe = EnvironmentProbe::start_with(|| named("shared"), || {}, |_| gpus("shared"));
        thread::scope(|scope| {
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| probe.get())).collect();
            for asker in askers {
                let environment = asker.join().unwrap();
                assert_eq!(environment.os, named("shared").os);
                assert_eq!(environment.hardware.gpu_devices, gpus("shared").devices);
            }
        });
    }
}
