//! The watch of one run, from `Trainer::new` to the end of `fit`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::Interrupter;

use super::stop_signal::StopSignal;
use super::watched_run::{EndFromOutside, Phase, StopView, WatchedRun};
use crate::process::run_output::OutputHandle;

/// How long the loop may wait for a save: without a limit, until a signal comes, and then for a limited time,
/// since the sender of the signal kills the process after a while.
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
#[derive(Default)]
pub(crate) struct SignalWatch(StopView);

impl SignalWatch {
    /// With `announce`, a signal is reported on standard error. After a signal the run ends within `limit`,
    /// if need be from outside.
    pub(crate) fn start(announce: bool, limit: Duration, outside: Arc<dyn EndFromOutside>) -> Self {
        #[cfg(unix)]
        if super::handlers::install() {
            return Self(StopView(Some(WatchedRun::new(announce, limit, outside))));
        }
        #[cfg(not(unix))]
        let _ = (announce, limit, outside);
        Self::default()
    }

    /// For the loop.
    pub(crate) fn view(&self) -> StopView {
        self.0.clone()
    }

    /// The run is open: this is what is said of it.
    pub(crate) fn set_output(&self, output: OutputHandle) {
        if let Some(run) = &self.0.0 {
            run.lock().output = output;
        }
    }

    /// Training starts: signals stop it through this interrupter.
    pub(crate) fn attach(&self, interrupter: Interrupter) {
        if let Some(run) = &self.0.0 {
            run.attach(interrupter);
        }
    }

    /// Training has returned.
    pub(crate) fn training_has_ended(&self) {
        if let Some(run) = &self.0.0 {
            run.enter(Phase::Done);
        }
    }

    /// Leaves the signals watched to the end of the process: they no longer end it.
    pub(crate) fn keep_until_exit(self) {
        std::mem::forget(self);
    }

    /// The first signal that came.
    pub(crate) fn received(&self) -> Option<StopSignal> {
        self.0.received()
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        if let Some(run) = &self.0.0 {
            run.enter(Phase::Done);
            run.lock().is_watched = false;
        }
    }
}
