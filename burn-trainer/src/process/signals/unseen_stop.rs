//! Ends a run whose loop does not see a stop: it waits for a batch that does not come, or is in a step that
//! does not end.
//!
//! A loop that waits for a batch gets a few seconds. A step in progress gets half of the time that the end
//! may take, and the save from outside the other half. A loop that has seen the stop gets all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::low_level::exit;

use super::stop_signal::StopSignal;
use super::watched_run::{Phase, WatchedRun};
use crate::process::console::say;
use crate::process::dashboard;
use crate::process::progress::figures::span;

/// How long a loop that does not compute may take to see the stop.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// How often it is found out whether the loop computes.
const POLL: Duration = Duration::from_millis(50);
/// How much longer than its limit the end of a run may take.
const MARGIN: Duration = Duration::from_secs(1);
/// The exit status when the state may not be on disk.
const FAILED: i32 = 1;

/// Watches a run that got a signal, on a thread of its own, until training has returned or the process ends.
pub(super) fn watch_for(run: Arc<WatchedRun>, signal: StopSignal) {
    let watch = move || {
        run.lock().output.set_for_thread();
        watch(&run, signal);
    };
    let started = std::thread::Builder::new().name("burn-trainer-stop".to_owned()).spawn(watch);
    if let Err(error) = started {
        log::warn!("a loop that does not see the stop will not be ended: {error}");
    }
}

/// Lets the other runs of the process save.
fn await_others(run: &WatchedRun, limit: Duration) {
    let begun = Instant::now();
    while run.others_train() && begun.elapsed() < limit {
        std::thread::sleep(POLL);
    }
}

fn watch(run: &WatchedRun, signal: StopSignal) {
    let mut idle = Duration::ZERO;
    let (mut is_training, mut others_train) = (true, false);
    let mut state = run.lock();
    let (limit, outside) = (state.limit, Arc::clone(&state.outside));
    let elapsed = |received: Option<(StopSignal, Instant)>| {
        received.map_or(Duration::ZERO, |(_, received)| received.elapsed())
    };
    loop {
        let passed = elapsed(state.received);
        match state.phase {
            Phase::Done | Phase::EndedFromOutside => return,
            // It would take the process from under a run that stops as it should.
            Phase::Open if !is_training && others_train => {}
            Phase::Open if idle >= IDLE_LIMIT.min(limit / 2) || passed >= limit / 2 => {
                state.phase = Phase::EndedFromOutside;
                drop(state);
                dashboard::close();
                let status = outside.end(signal, limit.saturating_sub(passed));
                run.lock().has_ended_from_outside = true;
                await_others(run, limit.saturating_sub(passed));
                exit(i32::from(status));
            }
            Phase::Ending if passed >= limit.saturating_add(MARGIN) => {
                let is_saved = state.is_saved;
                drop(state);
                dashboard::close();
                if is_saved {
                    exit(i32::from(outside.end_saved(signal)));
                }
                say(&format!(
                    "error: the end of training after {} does not come within {}: the process ends now, and its last \
                     state may not be on disk",
                    signal.name(),
                    span(limit.as_secs_f64())
                ));
                exit(FAILED);
            }
            Phase::Open | Phase::Ending => {}
        }
        run.wait(&mut state, POLL);
        drop(state);
        (is_training, others_train) = (run.is_training(), run.others_train());
        state = run.lock();
        idle = if outside.is_computing() { Duration::ZERO } else { idle + POLL };
    }
}
