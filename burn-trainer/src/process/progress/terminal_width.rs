//! How wide the terminal is that standard error goes to.

use std::io::IsTerminal;

/// What is taken where a terminal does not say its width.
const USUAL: usize = 80;

/// The columns of the terminal. `None` where standard error is a file or a pipe.
pub(crate) fn terminal_width() -> Option<usize> {
    std::io::stderr().is_terminal().then(|| query_width().filter(|width| *width > 0).unwrap_or(USUAL))
}

#[cfg(all(unix, feature = "tui"))]
fn query_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok().map(|size| usize::from(size.ws_col))
}

/// As shells tell it.
#[cfg(not(all(unix, feature = "tui")))]
fn query_width() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}
