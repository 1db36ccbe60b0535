//! Standard output and standard error while burn draws: a pipe is in their place. What burn draws goes to the
//! terminal, and what the program prints (a model, a callback, a program that it starts) is held back, as it
//! would garble the dashboard.
//!
//! burn draws on standard output, so that a pipe for the program alone is not possible.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

#[cfg(unix)]
pub(in crate::process) use with_pipe::{begin, end, has_stderr, is_lost, leave_screen, settle};
#[cfg(not(unix))]
pub(in crate::process) use without_pipe::{begin, end, has_stderr, is_lost, leave_screen, settle};

/// The terminal of the dashboard.
struct Screen {
    terminal: File,
    is_drawn_on: bool,
    /// Writing to it has failed.
    is_lost: bool,
}

impl Screen {
    /// Returns whether the terminal is lost from now on.
    fn draw(&mut self, bytes: &[u8]) -> bool {
        let is_lost_now = self.is_drawn_on && self.terminal.write_all(bytes).is_err();
        if is_lost_now {
            (self.is_drawn_on, self.is_lost) = (false, true);
        }
        is_lost_now
    }
}

#[cfg(unix)]
mod with_pipe {
    // Of the terminal, which is not a file of a run.
    #![allow(clippy::disallowed_methods)]

    use std::io::{IsTerminal, PipeReader, PipeWriter, Read, stderr, stdin, stdout};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread::Builder;

    use parking_lot::{Condvar, Mutex};
    use rustix::stdio::{self as fds, dup2_stderr, dup2_stdin, dup2_stdout};

    use super::super::split_output::{MARK, Splitter};
    use super::{Duration, File, Screen, Write, io};
    use crate::process::console::held_back::{HeldBack, write_held_back};

    /// How long the end of what was printed is waited for. A program that this one has started may keep the
    /// pipe.
    const END_LIMIT: Duration = Duration::from_millis(200);

    /// How long the terminal may hang before it is left as it is.
    const SCREEN_LIMIT: Duration = Duration::from_millis(400);

    static CAPTURE: Mutex<Option<Capture>> = Mutex::new(None);

    struct Capture {
        pipe: PipeWriter,
        stdout: OwnedFd,
        /// `None` where it is not a terminal, or is the terminal's again.
        stderr: Option<OwnedFd>,
        shared: Arc<SharedCapture>,
    }

    struct SharedCapture {
        screen: Mutex<Screen>,
        progress: Mutex<Progress>,
        changed: Condvar,
        /// Whether keys come from standard input, as burn chooses it.
        reads_stdin: bool,
    }

    /// How far the pipe is read.
    #[derive(Default)]
    struct Progress {
        marks_written: usize,
        marks_read: usize,
        /// Lines are no longer held back.
        is_over: bool,
        has_ended: bool,
    }

    /// Puts the pipe in their place. burn asks `/dev/tty` for the size of the terminal: without one it would
    /// ask standard output, and nothing is done.
    pub(in crate::process) fn begin() -> io::Result<()> {
        if File::open("/dev/tty").is_err() {
            return Ok(());
        }
        let (reader, pipe) = io::pipe()?;
        let stdout_fd = fds::stdout().try_clone_to_owned()?;
        let stderr_fd = stderr().is_terminal().then(|| fds::stderr().try_clone_to_owned()).transpose()?;
        let terminal = File::from(stdout_fd.try_clone()?);
        let shared = Arc::new(SharedCapture {
            screen: Mutex::new(Screen { terminal, is_drawn_on: true, is_lost: false }),
            progress: Mutex::default(),
            changed: Condvar::new(),
            reads_stdin: stdin().is_terminal(),
        });
        let of_reader = Arc::clone(&shared);
        let read = move || of_reader.read(reader);
        Builder::new().name("burn-trainer-output".to_owned()).spawn(read)?;
        let _ = stdout().flush();
        dup2_stdout(&pipe)?;
        if stderr_fd.is_some() {
            dup2_stderr(&pipe)?;
        }
        *CAPTURE.lock() = Some(Capture { pipe, stdout: stdout_fd, stderr: stderr_fd, shared });
        Ok(())
    }

    /// Whether what is printed on standard error is held back.
    pub(in crate::process) fn has_stderr() -> bool {
        CAPTURE.lock().as_ref().is_some_and(|capture| capture.stderr.is_some())
    }

    /// Whether the terminal is gone.
    pub(in crate::process) fn is_lost() -> bool {
        let shared = CAPTURE.lock().as_ref().map(|capture| Arc::clone(&capture.shared));
        shared.is_some_and(|shared| shared.screen.try_lock().is_some_and(|screen| screen.is_lost))
    }

    /// Waits until what was printed so far is held back.
    pub(in crate::process) fn settle(limit: Duration) {
        let capture = CAPTURE.lock();
        let Some(Capture { pipe, shared, .. }) = &*capture else { return };
        let Ok(mut pipe) = pipe.try_clone() else { return };
        let shared = Arc::clone(shared);
        drop(capture);
        let mut progress = shared.progress.lock();
        progress.marks_written += 1;
        let wanted = progress.marks_written;
        // A terminal that hangs keeps the pipe full.
        if Builder::new().spawn(move || pipe.write_all(MARK)).is_err() {
            return;
        }
        let is_unread = |progress: &mut Progress| progress.marks_read < wanted && !progress.has_ended;
        shared.changed.wait_while_for(&mut progress, is_unread, limit);
    }

    /// Ends the drawing, and gives standard error back. `sequences` leave the screen. `None` where there is
    /// no pipe.
    pub(in crate::process) fn leave_screen(sequences: &[u8]) -> Option<io::Result<()>> {
        let mut guard = CAPTURE.lock();
        let capture = guard.as_mut()?;
        let (shared, stderr) = (Arc::clone(&capture.shared), capture.stderr.take());
        drop(guard);
        // A terminal that hangs keeps the reader in writing to it.
        let is_lost = shared.screen.try_lock_for(SCREEN_LIMIT).map(|mut screen| {
            screen.draw(sequences);
            screen.is_drawn_on = false;
            screen.is_lost
        });
        let restored = give_back_stderr(stderr, is_lost == Some(true));
        Some(match is_lost {
            Some(false) => restored,
            Some(true) => Err(io::ErrorKind::BrokenPipe.into()),
            None => Err(io::ErrorKind::TimedOut.into()),
        })
    }

    /// The terminal, or the null device where that is gone: a program that prints to it would panic.
    fn or_nothing(terminal: OwnedFd, is_lost: bool) -> io::Result<OwnedFd> {
        if is_lost { Ok(File::options().write(true).open("/dev/null")?.into()) } else { Ok(terminal) }
    }

    fn give_back_stderr(terminal: Option<OwnedFd>, is_lost: bool) -> io::Result<()> {
        if let Some(terminal) = terminal {
            dup2_stderr(&or_nothing(terminal, is_lost)?)?;
        }
        Ok(())
    }

    /// Puts both in their place again. What a program prints that this one has started, and that still runs,
    /// is printed at once from now on.
    pub(in crate::process) fn end() -> io::Result<()> {
        let Some(Capture { pipe, stdout: stdout_fd, stderr, shared }) = CAPTURE.lock().take() else {
            return Ok(());
        };
        let _ = stdout().flush();
        let is_lost = shared.screen.try_lock().is_some_and(|screen| screen.is_lost);
        let restored = or_nothing(stdout_fd, is_lost).and_then(|terminal| Ok(dup2_stdout(&terminal)?));
        let restored = restored.and(give_back_stderr(stderr, is_lost));
        drop(pipe);
        let mut progress = shared.progress.lock();
        shared.changed.wait_while_for(&mut progress, |progress| !progress.has_ended, END_LIMIT);
        progress.is_over = true;
        restored
    }

    impl SharedCapture {
        /// Reads the pipe to its end, which comes when it has no writer.
        fn read(&self, mut pipe: PipeReader) {
            let mut splitter = Splitter::default();
            let mut buffer = [0; 4096];
            loop {
                let count = match pipe.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) | Err(_) => break,
                    Ok(count) => count,
                };
                let split = splitter.push(&buffer[..count]);
                if !split.drawn.is_empty() && self.screen.lock().draw(&split.drawn) {
                    self.end_input();
                }
                self.keep(split.lines);
                if split.marks > 0 {
                    self.progress.lock().marks_read += split.marks;
                    self.changed.notify_all();
                }
            }
            self.keep(splitter.rest());
            self.progress.lock().has_ended = true;
            self.changed.notify_all();
        }

        /// Gives burn an input without keys. It would read those of a terminal that is gone
        /// without an end.
        fn end_input(&self) {
            if !self.reads_stdin {
                return;
            }
            let pair = UnixStream::pair().and_then(|(input, other)| {
                input.set_nonblocking(true)?;
                dup2_stdin(&input)?;
                Ok(other)
            });
            match pair {
                // With its end closed there would be an end of input, which is read without an end too.
                Ok(other) => std::mem::forget(other),
                Err(error) => log::warn!("the keys of a terminal that is gone are still read: {error}"),
            }
        }

        fn keep(&self, lines: impl IntoIterator<Item = String>) {
            let is_over = self.progress.lock().is_over;
            for line in lines {
                match is_over {
                    true => write_held_back([line]),
                    false => HeldBack::lock().push(line),
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod without_pipe {
    use super::{Duration, io};

    pub(in crate::process) fn begin() -> io::Result<()> {
        Ok(())
    }

    pub(in crate::process) fn has_stderr() -> bool {
        false
    }

    pub(in crate::process) fn is_lost() -> bool {
        false
    }

    pub(in crate::process) fn settle(_limit: Duration) {}

    pub(in crate::process) fn leave_screen(_sequences: &[u8]) -> Option<io::Result<()>> {
        None
    }

    pub(in crate::process) fn end() -> io::Result<()> {
        Ok(())
    }
}
