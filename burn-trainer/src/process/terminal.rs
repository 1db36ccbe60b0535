//! Restores the terminal after burn's dashboard, when the thread that would do so was abandoned.

/// Does what burn's dashboard does at its end. Changes nothing on a terminal without a dashboard.
#[cfg(feature = "tui")]
pub(crate) fn restore() {
    use std::io::{IsTerminal, stdout};

    use crossterm::cursor::Show;
    use crossterm::event::DisableMouseCapture;
    use crossterm::execute;
    use crossterm::terminal::{LeaveAlternateScreen, disable_raw_mode, is_raw_mode_enabled};

    if !stdout().is_terminal() || !is_raw_mode_enabled().unwrap_or(false) {
        return;
    }
    let restored =
        disable_raw_mode().and_then(|()| execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show));
    if let Err(error) = restored {
        log::warn!("the terminal cannot be restored: {error}");
    }
}

#[cfg(not(feature = "tui"))]
pub(crate) fn restore() {}
