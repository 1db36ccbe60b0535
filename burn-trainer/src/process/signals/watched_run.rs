//! A run that is watched for signals, as the loop, the thread that receives signals, and the one that ends an
//! unseen stop know it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::stop_signal::StopSignal;
use crate::process::run_output::OutputHandle;

/// The runs that are open: usually one.
#[cfg(unix)]
static RUNS: Mutex<Vec<Weak<WatchedRun>>> = Mutex::new(Vec::new());

/// What ends a run whose loop does not see a stop.
pub(crate) trait EndFromOutside: Send + Sync {
    /// Whether the loop computes. It will see the stop when it is done. Otherwise it waits, for a batch for
    /// instance.
    fn is_computing(&self) -> bool;

    /// Saves the state of the last update in this time, and reports it. Returns the exit status.
    fn end(&self, signal: StopSignal, limit: Duration) -> u8;

    /// Reports a run whose state the loop has saved. Returns the exit status.
    fn end_saved(&self, signal: StopSignal) -> u8;
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is open: before training, or in it.
    Open,
    /// The loop has ended, and saves what is to be saved.
    Ending,
    /// It is ended from outside.
    EndedFromOutside,
    /// Training has returned.
    Done,
}

pub(super) struct WatchedRun {
    state: Mutex<WatchedState>,
    changed: Condvar,
}

pub(super) struct WatchedState {
    /// Whether signals are for this run. They can be after its end, when the job was requeued.
    pub(super) is_watched: bool,
    pub(super) phase: Phase,
    pub(super) received: Option<(StopSignal, Instant)>,
    /// Whether a signal is reported on standard error.
    pub(super) announce: bool,
    /// How long the end may take after a signal.
    pub(super) limit: Duration,
    pub(super) outside: Arc<dyn EndFromOutside>,
    /// Whether the loop has saved its state.
    pub(super) is_saved: bool,
    /// Whether what ends it from outside is done.
    pub(super) has_ended_from_outside: bool,
    /// What is said of the run. Known once it is open.
    pub(super) output: OutputHandle,
    /// Known once training starts.
    interrupter: Option<Interrupter>,
}

impl WatchedRun {
    /// A run that is open from now on.
    pub(super) fn new(announce: bool, limit: Duration, outside: Arc<dyn EndFromOutside>) -> Arc<Self> {
        let state = WatchedState {
            is_watched: true,
            phase: Phase::Open,
            received: None,
            announce,
            limit,
            outside,
            is_saved: false,
            has_ended_from_outside: false,
            output: OutputHandle::default(),
            interrupter: None,
        };
        let run = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        #[cfg(unix)]
        RUNS.lock().push(Arc::downgrade(&run));
        run
    }

    /// The runs that signals are for.
    #[cfg(unix)]
    pub(super) fn all_watched() -> Vec<Arc<Self>> {
        let mut watched = Vec::new();
        RUNS.lock().retain(|run| {
            let run = run.upgrade().filter(|run| run.lock().is_watched);
            watched.extend(run.clone());
            run.is_some()
        });
        watched
    }

    /// Whether another run of this process is in training, or saves at its end.
    #[cfg(unix)]
    pub(super) fn others_train(&self) -> bool {
        Self::all_watched().iter().any(|run| {
            let is_other = !std::ptr::eq(Arc::as_ptr(run), self);
            let state = run.lock();
            is_other
                && state.interrupter.is_some()
                && state.phase != Phase::Done
                && !state.has_ended_from_outside
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WatchedState> {
        self.state.lock()
    }

    /// Training starts. A signal that came before stops it now.
    pub(super) fn attach(&self, interrupter: Interrupter) {
        let mut state = self.lock();
        if let Some((signal, _)) = state.received {
            interrupter.stop(Some(signal.name()));
        }
        state.interrupter = Some(interrupter);
    }

    /// Notes a signal, if it is the first. Returns whether it is.
    #[cfg(unix)]
    pub(super) fn receive(&self, signal: StopSignal) -> bool {
        let mut state = self.lock();
        if state.received.is_some() {
            return false;
        }
        state.received = Some((signal, Instant::now()));
        if let Some(interrupter) = &state.interrupter {
            interrupter.stop(Some(signal.name()));
        }
        true
    }

    /// Whether `fit` was called.
    #[cfg(unix)]
    pub(super) fn is_training(&self) -> bool {
        self.lock().interrupter.is_some()
    }

    /// Moves on, unless the run is ended from outside already. Returns whether it did.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        let mut state = self.lock();
        let is_open = state.phase != Phase::EndedFromOutside;
        // A loop that was abandoned in a lost device can end later.
        if is_open && state.phase != Phase::Done {
            state.phase = phase;
        }
        self.changed.notify_all();
        is_open
    }

    /// Waits for a change of the phase.
    #[cfg(unix)]
    pub(super) fn wait(&self, state: &mut MutexGuard<'_, WatchedState>, limit: Duration) {
        let _ = self.changed.wait_for(state, limit);
    }
}

/// What the loop sees of the watch. `None` where signals are not handled.
#[derive(Clone, Default)]
pub(crate) struct StopView(pub(super) Option<Arc<WatchedRun>>);

impl StopView {
    /// Whether signals are handled, so that a stop can come that the loop does not see.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How much of the time for the end is left. `None` without a signal.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let state = self.0.as_ref()?.lock();
        let (_, received) = state.received?;
        Some(state.limit.saturating_sub(received.elapsed()))
    }

    /// The first signal that came.
    pub(crate) fn received(&self) -> Option<StopSignal> {
        self.0.as_ref()?.lock().received.map(|(signal, _)| signal)
    }

    /// The loop has saved the state at its end.
    pub(crate) fn state_is_saved(&self) {
        if let Some(run) = &self.0 {
            run.lock().is_saved = true;
        }
    }

    /// The loop has seen the stop, or has ended without one. When the run is being ended from outside, this
    /// never returns.
    pub(crate) fn loop_has_ended(&self) {
        if self.0.as_ref().is_some_and(|run| !run.enter(Phase::Ending)) {
            loop {
                std::thread::park();
            }
        }
    }
}
