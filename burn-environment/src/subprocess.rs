//! Running another program without ever waiting for it longer than a deadline says.
//!
//! There is no shell in between, and the program gets neither an input nor a place for its
//! messages.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Most bytes that are kept of an output. A git commit has 64, and of a list of changed files it
/// only matters that there is one.
const MAX_OUTPUT_BYTES: u64 = 4096;

/// What a command prints, if it ends with success before the deadline. It is killed otherwise.
///
/// Of a longer output only the first 4096 bytes are kept.
///
/// # Errors
///
/// The command cannot be started or read from, it ends without success, or, with the kind
/// [`TimedOut`](io::ErrorKind::TimedOut), it or its output does not end in time.
pub fn output_of(mut command: Command, deadline: Instant) -> io::Result<Vec<u8>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    // Kept as it is until the child is waited for, which has to be done in any case.
    let answer = child.stdout.take().map(read_aside);
    let status = wait(&mut child, deadline)?;
    // The program has ended, but a child of it may still hold the other end of the pipe.
    let remaining = deadline.saturating_duration_since(Instant::now());
    let output = answer
        .ok_or(io::ErrorKind::BrokenPipe)??
        .recv_timeout(remaining.max(POLL_INTERVAL))
        .map_err(|_| io::ErrorKind::TimedOut)??;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(output)
}

/// Waits for a process until the deadline, then kills it.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            // Soon over, and what removes the process from the system's table.
            child.wait()?;
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Reads on a thread of its own: a pipe cannot be read with a time limit, and a program whose pipe
/// is full never ends.
fn read_aside(source: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("burn-environment-subprocess".to_owned()).spawn(move || {
        // Past the deadline nobody listens any more.
        let _ = sender.send(read_start(source));
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
    use crate::scratch_dir::ScratchDir;

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

    #[cfg(unix)]
    #[test]
    fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
        let scratch = ScratchDir::new("subprocess");
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $! >child"]).current_dir(scratch.path());
        let error = output_of(command, started + Duration::from_millis(500)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_mins(5));
        // Nothing may outlive the test. On a very busy machine the shell did not get that far.
        if let Ok(child) = std::fs::read_to_string(scratch.path().join("child")) {
            Command::new("kill").arg(child.trim()).status().unwrap();
        }
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
