//! Running another program without ever waiting for it longer than a deadline says.
//!
//! There is no shell in between, and the program gets neither an input nor a place for its
//! messages.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often a running program is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long a killed program is waited for. One that waits for a file system which does not answer lives on
/// until that does.
const KILLED_WITHIN: Duration = Duration::from_millis(100);

/// Killed programs whose end did not come within [`KILLED_WITHIN`]. Each stays in the system's table until
/// this process asks for its end.
static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Most bytes that are kept of an output. A git commit has 64, and of a list of changed files it
/// only matters that there is one.
const MAX_OUTPUT_BYTES: u64 = 4096;

/// What a command prints, if it ends with success before the deadline. It is killed otherwise, with all that
/// it started.
///
/// Of a longer output only the first 4096 bytes are kept.
///
/// ```
/// use std::process::Command;
/// use std::time::{Duration, Instant};
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo done"]);
/// let printed = burn_environment::plumbing::output_of(command, Instant::now() + Duration::from_secs(10))?;
/// # assert_eq!(printed, b"done\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The command cannot be started or read from, it ends without success, or, with the kind
/// [`TimedOut`](io::ErrorKind::TimedOut), it or its output does not end in time.
pub fn output_of(command: Command, deadline: Instant) -> io::Result<Vec<u8>> {
    read_from(command, deadline, read_start)
}

/// What `read` makes of all that a command prints; for the rest see [`output_of`].
///
/// # Errors
///
/// Those of [`output_of`], and those of `read`.
pub(crate) fn read_from<T: Send + 'static>(
    mut command: Command,
    deadline: Instant,
    read: impl FnOnce(ChildStdout) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    remove_left();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // With a group of its own what it starts can be killed with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut running = Running { child: Some(command.spawn()?) };
    let source = running.take_output().ok_or(io::ErrorKind::BrokenPipe)?;
    let answer = read_aside(move || read(source))?;
    // First the end of the output and then that of the program: before the latter its process group cannot
    // become another's.
    let remaining = deadline.saturating_duration_since(Instant::now());
    let answer = match answer.recv_timeout(remaining) {
        Ok(answer) => answer?,
        Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("its output was not read")),
    };
    let status = running.wait(deadline)?.ok_or(io::ErrorKind::TimedOut)?;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(answer)
}

/// A program that does not outlive this.
struct Running {
    /// `None` when it has ended.
    child: Option<Child>,
}

impl Running {
    fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.as_mut()?.stdout.take()
    }

    /// Waits for its end until the deadline; `None` where it runs on.
    fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.child.as_mut().map_or(Ok(None), Child::try_wait)?;
            if ended.is_some() {
                self.child = None;
            }
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // Where neither works there is nothing more to do about it. The wait removes it from the system's
        // table.
        let _ = kill(child);
        let _ = self.wait(Instant::now() + KILLED_WITHIN);
        LEFT.lock().extend(self.child.take());
    }
}

fn kill(child: &mut Child) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
    }
    child.kill()
}

/// Removes killed programs that have ended from the system's table.
fn remove_left() {
    LEFT.lock().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

/// Reads on a thread of its own: a pipe cannot be read with a time limit, and a program whose pipe
/// is full never ends.
fn read_aside<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Receiver<io::Result<T>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("burn-environment-subprocess".to_owned()).spawn(move || {
        // After the deadline the receiver is gone.
        let _ = sender.send(read());
    })?;
    Ok(receiver)
}

/// The first [`MAX_OUTPUT_BYTES`] of a source, which is read to its end.
fn read_start(mut source: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut start)?;
    io::copy(&mut source, &mut io::sink())?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_killed_at_the_deadline() {
        let started = Instant::now();
        let mut command = Command::new("sleep");
        command.arg("600");
        let error = output_of(command, started + Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // What is reported comes after the wait for the killed process, so it cannot have run on.
        assert!(started.elapsed() < Duration::from_mins(5));
    }

    /// What is killed is gone soon, or is a zombie until its parent looks.
    #[cfg(target_os = "linux")]
    fn wait_for_the_end_of(process: &str) {
        let patience = Instant::now() + Duration::from_mins(1);
        let runs = || {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            !status.is_empty() && !status.contains("State:\tZ")
        };
        while runs() {
            assert!(Instant::now() < patience, "{process} lives on");
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The number of the process that the script started, or `None` where it did not get that far.
    #[cfg(target_os = "linux")]
    fn started_by(scratch: &tempfile::TempDir) -> Option<String> {
        std::fs::read_to_string(scratch.path().join("started")).ok()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_started_is_not_waited_for_and_killed_with_it() {
        // With the program itself ended, with it waiting, and with it deaf and its output closed.
        for end in ["", "; wait", "; trap '' TERM INT; exec >&-; wait"] {
            // A very busy machine may reach a deadline before the script has started its child: then the
            // deadline doubles.
            let mut limit = Duration::from_millis(500);
            let child = loop {
                let scratch = tempfile::tempdir().unwrap();
                let mut command = Command::new("sh");
                let script = format!("sleep 600 & echo $! >child; mv child started{end}");
                command.args(["-c", &script]).current_dir(scratch.path());
                let deadline = Instant::now() + limit;
                let error = output_of(command, deadline).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert!(Instant::now() < deadline + Duration::from_mins(5));
                if let Some(child) = started_by(&scratch) {
                    break child;
                }
                limit *= 2;
                assert!(limit < Duration::from_mins(5), "the script never started its child");
            };
            wait_for_the_end_of(child.trim());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_killed_program_whose_end_comes_late_leaves_the_systems_table_with_the_next_one() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = child.id().to_string();
        kill(&mut child).unwrap_or_else(|_| child.kill().unwrap());
        LEFT.lock().push(child);
        // A zombie has ended.
        wait_for_the_end_of(&process);
        output_of(Command::new("true"), Instant::now() + Duration::from_mins(5)).unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_fails_has_no_answer_whatever_it_printed() {
        let deadline = Instant::now() + Duration::from_mins(5);
        let mut command = Command::new("sh");
        command.args(["-c", "echo printed; exit 1"]);
        let error = output_of(command, deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        let mut command = Command::new("sh");
        command.args(["-c", "echo printed"]);
        assert_eq!(output_of(command, deadline).unwrap(), b"printed\n");
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_kept_to_the_limit() {
        let mut source = io::repeat(b'x').take(MAX_OUTPUT_BYTES + 1_000_000);
        let start = read_start(&mut source).unwrap();
        assert_eq!(start.len() as u64, MAX_OUTPUT_BYTES);
        assert_eq!(source.limit(), 0);
    }
}
