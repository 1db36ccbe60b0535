//! Asking for GPUs with a time limit: a driver that hangs never answers.

use std::io::{self, Read};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::device::GpuDevice;
use crate::subprocess::read_from;

/// How long drivers are waited for. Loading one for many idle GPUs takes seconds.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a list of GPUs that another process prints.
const MAX_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// What is asked for once in a process, on a thread of its own.
pub(super) struct AskedOnce<T: 'static> {
    found: OnceLock<T>,
    begun: Mutex<Option<Instant>>,
    ended: Condvar,
}

impl<T: Clone + Send + Sync> AskedOnce<T> {
    pub(super) const fn new() -> Self {
        Self { found: OnceLock::new(), begun: Mutex::new(None), ended: Condvar::new() }
    }

    /// The answer, however long it takes. `ask` is called at most once.
    pub(super) fn wait(&self, ask: impl FnOnce() -> T) -> T {
        self.found.get_or_init(ask).clone()
    }

    /// The answer, if it comes within a time limit from the first call.
    pub(super) fn wait_for(&'static self, ask: fn() -> T, limit: Duration) -> Option<T> {
        let mut begun = self.begun.lock();
        let since = *begun.get_or_insert_with(|| {
            // Detached: a thread that hangs in a driver cannot be ended. Without a thread there is no answer.
            let _started = thread::Builder::new().name("burn-environment-gpus".to_owned()).spawn(move || {
                self.wait(ask);
                // With the lock: who looks for the answer has either seen it, or waits already.
                let _begun = self.begun.lock();
                self.ended.notify_all();
            });
            Instant::now()
        });
        let until = since + limit;
        while self.found.get().is_none() && !self.ended.wait_until(&mut begun, until).timed_out() {}
        self.found.get().cloned()
    }
}

/// The list of GPUs that another process prints: one line of JSON, the last of its output.
///
/// A process of its own keeps a driver's crash or hang away from this one, for good: a driver that hangs
/// while its library is loaded keeps the process from ending. `command` starts a program that prints
/// [`gpus`](crate::gpus) as JSON.
///
/// # Errors
///
/// The command cannot be started, fails or prints something else; with the kind
/// [`TimedOut`](io::ErrorKind::TimedOut), it does not end within 10 seconds. It is killed then.
pub fn gpus_from(command: Command) -> io::Result<Vec<GpuDevice>> {
    read_from(command, Instant::now() + WAIT_LIMIT, |output| {
        let mut text = String::new();
        output.take(MAX_LIST_BYTES).read_to_string(&mut text)?;
        let list = text.lines().last().unwrap_or_default();
        serde_json::from_str(list).map_err(io::Error::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_given_up_and_taken_once_it_comes() {
        static ASKED: AskedOnce<u8> = AskedOnce::new();
        static GATE: Mutex<()> = Mutex::new(());
        let closed = GATE.lock();
        let ask = || {
            let _open = GATE.lock();
            7
        };
        assert_eq!(ASKED.wait_for(ask, Duration::ZERO), None);
        // Not asked again, and not waited for again.
        assert_eq!(ASKED.wait_for(|| 8, Duration::from_millis(1)), None);
        drop(closed);
        assert_eq!(ASKED.wait_for(|| 8, Duration::from_mins(5)), Some(7));
        assert_eq!(ASKED.wait(|| 8), 7);
    }

    #[cfg(unix)]
    #[test]
    fn the_list_of_another_process_is_the_last_line_that_it_prints() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            gpus_from(command)
        };
        let list = shell(r#"echo a driver says hello; echo '[{"name":"a"},{}]'"#).unwrap();
        assert_eq!((list.len(), list[0].name.as_deref()), (2, Some("a")));
        assert!(shell("echo hello").is_err());
        assert!(shell("echo '[]'; kill -SEGV $$").is_err());
    }
}
