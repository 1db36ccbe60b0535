//! Writes a page again and again on a thread of its own, no more often than it costs little.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::status::PageStatus;

/// After a page the next one waits for this multiple of what it took: 2 % of one processor at most, however
/// long the log of the run is.
const PAUSE_FACTOR: u32 = 50;
/// How long the end of a run waits for its last page.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The thread, and what it is asked for. The loop never waits for it.
#[derive(Default)]
pub(super) struct PageWriter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_running: bool,
    /// Whether something has changed since the last page was begun.
    is_due: bool,
    /// How the run has ended. The page with it is the last one.
    ended: Option<PageStatus>,
}

impl PageWriter {
    /// Starts the thread, which writes nothing before it is asked to.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn start(self: &Arc<Self>, write: impl FnMut(&PageStatus) + Send + 'static) -> io::Result<()> {
        self.state.lock().is_running = true;
        let writer = Arc::clone(self);
        let thread = thread::Builder::new().name("burn-trainer-report".to_owned());
        let started = thread.spawn(move || writer.write_pages(write));
        self.state.lock().is_running &= started.is_ok();
        started.map(drop)
    }

    /// Asks for a page. Several requests while one is written, or in the pause after it, are one.
    pub(super) fn request(&self) {
        self.state.lock().is_due = true;
        self.changed.notify_all();
    }

    /// Has the last page written, and waits for it. Returns whether it is written in time. Without a thread
    /// there is nothing to wait for.
    pub(super) fn end(&self, status: PageStatus) -> bool {
        let deadline = Instant::now() + END_LIMIT;
        let mut state = self.state.lock();
        state.ended = Some(status);
        self.changed.notify_all();
        while state.is_running {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return !state.is_running;
            }
        }
        true
    }

    fn write_pages(&self, mut write: impl FnMut(&PageStatus)) {
        let running = PageStatus::new("running", "");
        while self.wait_until_due() {
            let begun = Instant::now();
            write(&running);
            self.pause(begun.elapsed() * PAUSE_FACTOR);
        }
        let ended = self.state.lock().ended.take();
        ended.iter().for_each(write);
        self.state.lock().is_running = false;
        self.changed.notify_all();
    }

    /// Waits until a page is due. Returns whether one is: not when the run has ended.
    fn wait_until_due(&self) -> bool {
        let mut state = self.state.lock();
        while state.ended.is_none() {
            if std::mem::take(&mut state.is_due) {
                return true;
            }
            self.changed.wait(&mut state);
        }
        false
    }

    /// Waits for that time, or until the run has ended.
    fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while state.ended.is_none() && !self.changed.wait_until(&mut state, deadline).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn requests_while_a_page_is_written_are_one_and_the_last_page_has_the_end() {
        let writer = Arc::new(PageWriter::default());
        let (begun, is_begun) = channel();
        let (may_end, end) = channel::<()>();
        let write = move |status: &PageStatus| {
            begun.send(status.clone()).unwrap();
            if status.word == "running" {
                let _ = end.recv();
            }
        };
        writer.start(write).unwrap();
        writer.request();
        assert_eq!(is_begun.recv().unwrap().word, "running");
        // The page is being written, and this thread does not wait for it.
        (0..1_000).for_each(|_| writer.request());
        // From now on none waits.
        drop(may_end);
        assert!(writer.end(PageStatus::new("stopped", "SIGTERM")));
        let rest: Vec<PageStatus> = is_begun.iter().collect();
        assert!(rest.len() <= 2, "{rest:?}");
        assert_eq!(rest.last(), Some(&PageStatus::new("stopped", "SIGTERM")));
    }

    #[test]
    fn without_a_thread_nothing_is_waited_for() {
        let writer = PageWriter::default();
        writer.request();
        assert!(writer.end(PageStatus::new("done", "")));
    }
}
