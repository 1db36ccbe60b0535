//! burn's dashboard on the terminal, which gives way when it or the program fails.
//!
//! burn draws it on a thread of its own. A panic anywhere leaves the screen, but that thread continues to
//! draw. When it ends itself, burn continues to send to it. So the terminal is taken from the dashboard
//! first, and then the panic is printed.

// `without_tui` is in its place in a build without burn's dashboard.

#[cfg(feature = "tui")]
pub(super) mod captured_output;
#[cfg(all(unix, feature = "tui"))]
mod split_output;
#[cfg(all(unix, feature = "tui"))]
mod terminal_signals;
#[cfg(feature = "tui")]
mod with_tui;
#[cfg(not(feature = "tui"))]
mod without_tui;

#[cfg(feature = "tui")]
pub(crate) use with_tui::{Dashboard, close, leave, show_signal};
#[cfg(not(feature = "tui"))]
pub(crate) use without_tui::{Dashboard, close, leave, show_signal};

/// Why a dashboard is drawn no longer.
#[cfg_attr(not(feature = "tui"), allow(dead_code, reason = "nothing is drawn"))]
pub(crate) enum Ended {
    /// It has failed, for this reason.
    Failed(String),
    /// The process was stopped by ctrl-z or SIGTSTP.
    Suspended,
    /// A panic has its place, whose message is printed.
    GaveWay,
}
