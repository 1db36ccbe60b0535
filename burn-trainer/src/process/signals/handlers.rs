//! The process's signal handlers, and the thread that passes signals to the runs.

use std::ffi::c_int;
use std::sync::OnceLock;

use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, exit};

use super::disposition::{is_ignored, set_stops_runs};
use super::stop_signal::StopSignal;
use super::unseen_stop;
use super::watched_run::WatchedRun;
use crate::process::console::say;
use crate::process::dashboard;
use crate::process::run_output::OutputHandle;

/// The signals that are handled. Empty when that failed.
static HANDLED: OnceLock<Vec<StopSignal>> = OnceLock::new();

/// Installs the handlers. Returns whether signals are handled.
pub(super) fn install() -> bool {
    !HANDLED.get_or_init(start).is_empty()
}

/// Starts the thread that receives signals. When that fails, signals have their default effect.
fn start() -> Vec<StopSignal> {
    let handled: Vec<StopSignal> =
        StopSignal::ALL.into_iter().filter(|signal| !is_ignored(c_int::from(signal.number()))).collect();
    let numbers = handled.iter().map(|signal| c_int::from(signal.number()));
    let started = Signals::new(numbers).and_then(|mut signals| {
        let receive = move || signals.forever().for_each(receive);
        std::thread::Builder::new().name("burn-trainer-signals".to_owned()).spawn(receive)
    });
    match started {
        Ok(_) => {
            set_stops_runs(handled.iter().map(|signal| c_int::from(signal.number())).collect());
            handled
        }
        Err(error) => {
            log::warn!("signals will end the process without a save: {error}");
            Vec::new()
        }
    }
}

fn receive(number: c_int) {
    let Some(signal) = StopSignal::ALL.into_iter().find(|signal| c_int::from(signal.number()) == number)
    else {
        return;
    };
    let open = WatchedRun::all_watched();
    let in_progress = !open.is_empty();
    let mut is_first = false;
    for run in open {
        if run.receive(signal) {
            is_first = true;
            let (is_announced, output) = {
                let state = run.lock();
                (state.announce, state.output.clone())
            };
            if is_announced {
                announce(signal, run.is_training(), output);
            }
            unseen_stop::watch_for(run, signal);
        }
    }
    if !in_progress {
        dashboard::leave();
        let _ = emulate_default_handler(number);
    } else if signal == StopSignal::Interrupt && !is_first {
        dashboard::leave();
        exit(i32::from(signal.exit_status()));
    }
}

/// Reports what a signal will do. Writing can block forever when the pipe is not read. So it has a thread
/// of its own, and neither the next signal nor the end of training waits for it.
fn announce(signal: StopSignal, is_training: bool, output: OutputHandle) {
    let what = match is_training {
        true => "saving after the step in progress",
        false => "training stops before its first step",
    };
    let mut line = format!("{}: {what}", signal.name());
    if HANDLED.get().is_some_and(|handled| handled.contains(&StopSignal::Interrupt)) {
        line.push_str(" (SIGINT, that is ctrl-c, ends at once)");
    }
    let announce = move || {
        output.set_for_thread();
        dashboard::show_signal(signal.name());
        say(&line);
    };
    let _ = std::thread::Builder::new().name("burn-trainer-announce".to_owned()).spawn(announce);
}
