//! burn's dashboard on the terminal, which gives way when it or the program fails.
//!
//! burn draws it on a thread of its own. A panic anywhere leaves the screen, but that thread continues to draw. When it ends
//! itself, burn continues to send to it. So the terminal is taken from the dashboard first, and then the panic is printed.

// `without` stands in for it in a build without burn's dashboard.

#[cfg(feature = "tui")]
mod drawn;
#[cfg(not(feature = "tui"))]
mod without;

#[cfg(feature = "tui")]
pub(crate) use drawn::{Dashboard, close, leave, show_signal};
#[cfg(not(feature = "tui"))]
pub(crate) use without::{Dashboard, close, leave, show_signal};
