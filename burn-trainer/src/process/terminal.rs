//! Giving the terminal back that burn's dashboard has taken, when the thread that would do so was left behind.

/// As burn's dashboard does at its end. On a terminal that it has not taken, this changes nothing.
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
        log::warn!("the terminal cannot be given back: {error}");
    }
}

#[cfg(not(feature = "tui"))]
pub(crate) fn restore() {}
