//! The terminal below burn's dashboard: whether it can be drawn there, the key that interrupts, and the way
//! back to the screen that was there before.

// Of /dev/null and the terminal, which are not files of a run.
#![allow(clippy::disallowed_methods)]

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crossterm::cursor::Show;
use crossterm::event::{DisableMouseCapture, poll};
use crossterm::execute;
use crossterm::style::Print;
use crossterm::terminal::{
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled, size,
};

use super::dashboard::captured_output;

/// How long a line that is printed waits for those before it.
const SETTLE_LIMIT: Duration = Duration::from_millis(100);
/// How long another thread may hold standard output before it is used all the same.
const OUTPUT_LIMIT: Duration = Duration::from_millis(500);
/// The value of `TERM` for a terminal that shows escape sequences as text: a shell in an editor.
const DUMB: &str = "dumb";
/// Ends an escape sequence that burn's thread has written a part of.
const CANCEL: char = '\u{18}';

/// Whether a dashboard is drawn on the terminal: burn's, ours or the program's.
pub(crate) fn is_drawn_on() -> bool {
    is_raw_mode_enabled().unwrap_or(false)
}

/// Whether a line on standard error would be drawn on.
pub(crate) fn is_held_back() -> bool {
    is_drawn_on() && (captured_output::has_stderr() || stderr().is_terminal())
}

/// Waits until all that the program has printed into a dashboard is held back.
pub(crate) fn settle_output() {
    captured_output::settle(SETTLE_LIMIT);
}

/// Checks that a dashboard can be drawn: does what burn would panic at. The error says why it cannot.
pub(super) fn check() -> Result<(), String> {
    if !stdout().is_terminal() {
        return Err("standard output is not a terminal".to_owned());
    }
    if std::env::var_os("TERM").is_some_and(|kind| kind == DUMB) {
        return Err(format!("the terminal cannot move its cursor: TERM is {DUMB}"));
    }
    platform::check_foreground()?;
    let tried = enable_raw_mode().and_then(|()| {
        let tried = size().and_then(|_| poll(Duration::ZERO));
        disable_raw_mode().and(tried)
    });
    tried.map(|_| ()).map_err(|error| format!("the terminal cannot be used: {error}"))
}

/// Makes ctrl-c send SIGINT, which raw mode turns off, and ctrl-z SIGTSTP, if that gives the terminal back.
pub(super) fn enable_signal_keys(may_suspend: bool) {
    if let Err(error) = platform::enable_signal_keys(may_suspend) {
        log::warn!("ctrl-c has no effect on the dashboard: {error}");
    }
}

/// Takes the terminal from a dashboard whose thread may still draw: the screen is the one before, and what
/// that thread writes from now on is lost. Later calls do nothing until [`reconnect_output`].
pub(super) fn leave_dashboard() {
    let (done, taken) = channel();
    let take = move || {
        let left = captured_output::leave_screen(&leaving()).unwrap_or_else(|| {
            let mut out = stdout().lock();
            let left = match platform::is_muted() {
                true => Ok(()),
                false => out.write_all(&leaving()).and_then(|()| out.flush()).and_then(|()| platform::mute()),
            };
            left.inspect_err(|_| platform::mute_for_good())
        });
        if let Err(error) = left {
            log::warn!("the terminal cannot be restored: {error}");
        }
        let _ = done.send(());
    };
    // A thread that hangs in writing to the terminal keeps the lock.
    if thread::Builder::new().name("burn-trainer-restore-terminal".to_owned()).spawn(take).is_ok() {
        let _ = taken.recv_timeout(OUTPUT_LIMIT);
    }
    if let Err(error) = disable_raw_mode() {
        log::warn!("the terminal cannot be restored: {error}");
    }
    captured_output::settle(SETTLE_LIMIT);
}

/// What leaves the dashboard's screen.
fn leaving() -> Vec<u8> {
    let mut sequences = Vec::new();
    // Nothing fails that is written to memory.
    let _ = execute!(sequences, Print(CANCEL), DisableMouseCapture, LeaveAlternateScreen, Show);
    sequences
}

/// Ends what [`leave_dashboard`] or a dashboard began: standard output and standard error are the terminal's
/// again.
pub(super) fn reconnect_output() {
    let restored = captured_output::end();
    let mut out = stdout().lock();
    let _ = out.flush();
    if let Err(error) = restored.and(platform::unmute()) {
        log::warn!("standard output is lost: {error}");
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::{File, OpenOptions};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::fs::MetadataExt;

    use parking_lot::Mutex;
    use rustix::process::getpgrp;
    use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdin, stdout};
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, isatty, tcgetattr, tcgetpgrp, tcsetattr,
    };

    use super::io;

    /// The control character that no key has.
    const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xFF };

    /// Standard output, while a null device is in its place.
    static MUTED: Mutex<Option<OwnedFd>> = Mutex::new(None);

    pub(super) fn is_muted() -> bool {
        MUTED.lock().is_some()
    }

    pub(super) fn mute() -> io::Result<()> {
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        let terminal = stdout().try_clone_to_owned()?;
        dup2_stdout(&null)?;
        *MUTED.lock() = Some(terminal);
        Ok(())
    }

    /// The terminal is gone. Printing to it would panic, on burn's thread in a destructor.
    pub(super) fn mute_for_good() {
        let number = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).map(|file| file.rdev()).ok()
        };
        let is_same = number(stdout()).is_some() && number(stdout()) == number(stderr());
        if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
            let _ = dup2_stdout(&null);
            if is_same {
                let _ = dup2_stderr(&null);
            }
        }
    }

    pub(super) fn unmute() -> io::Result<()> {
        if let Some(terminal) = MUTED.lock().take() {
            dup2_stdout(&terminal)?;
        }
        Ok(())
    }

    /// A process in the background is stopped when it changes the terminal's mode.
    pub(super) fn check_foreground() -> Result<(), String> {
        match tcgetpgrp(stdout()) {
            Ok(foreground) if foreground != getpgrp() => Err("the program runs in the background".to_owned()),
            // Also where the terminal is not the process's own.
            _ => Ok(()),
        }
    }

    /// The key of SIGQUIT stays off.
    pub(super) fn enable_signal_keys(may_suspend: bool) -> io::Result<()> {
        // As crossterm chooses it.
        let other = if isatty(stdin()) { None } else { Some(File::open("/dev/tty")?) };
        let terminal = match &other {
            Some(other) => other.as_fd(),
            None => stdin(),
        };
        let mut modes = tcgetattr(terminal)?;
        modes.local_modes |= LocalModes::ISIG;
        modes.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        if !may_suspend {
            modes.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            modes.special_codes[SpecialCodeIndex::VDSUSP] = NO_KEY;
        }
        Ok(tcsetattr(terminal, OptionalActions::Now, &modes)?)
    }
}

#[cfg(not(unix))]
mod platform {
    use super::io;

    pub(super) fn is_muted() -> bool {
        false
    }

    pub(super) fn mute() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn mute_for_good() {}

    pub(super) fn unmute() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn check_foreground() -> Result<(), String> {
        Ok(())
    }

    pub(super) fn enable_signal_keys(_may_suspend: bool) -> io::Result<()> {
        Ok(())
    }
}
