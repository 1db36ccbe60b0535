//! Signals: the first one asks the loop to stop after the step in progress and to save. A SIGINT after it
//! ends the process at once. A loop that does not see the stop is ended from outside.
//!
//! Handlers are the process's, and training takes a part of its time. So the handlers are installed with the
//! first run. While no run is open they do what the system does by default. A program with handlers of its
//! own turns these off with the configuration's `handle_signals`.

#[cfg(unix)]
pub(crate) mod disposition;
#[cfg(unix)]
mod handlers;
mod stop_signal;
#[cfg(unix)]
mod unseen_stop;
mod watch;
#[cfg_attr(not(unix), allow(dead_code, reason = "there are no signals"))]
mod watched_run;

#[cfg(unix)]
pub use disposition::is_ignored;
pub use stop_signal::StopSignal;
pub(crate) use watch::{SignalDeadline, SignalWatch};
pub(crate) use watched_run::{EndFromOutside, StopView};
