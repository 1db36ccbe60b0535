//! Time in which the process was suspended, which is not training time.
//!
//! Nothing tells a process for how long it stood still: SIGSTOP cannot be handled, and a paused container or
//! virtual machine sends no signal. So a thread notes the time again and again. Where the notes have a gap,
//! nothing of the process has run.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the time is noted.
const INTERVAL: Duration = Duration::from_millis(250);
/// The shortest gap that counts. A busy machine can leave a thread waiting for a part of it.
const SHORTEST: Duration = Duration::from_secs(2);

/// The time without that in which the process was suspended. The thread ends with it.
#[derive(Debug)]
pub(super) struct RunningTime {
    noted: Arc<Mutex<Noted>>,
    /// `None` where the system gives no thread. Then all time counts.
    notes: Option<JoinHandle<()>>,
}

impl RunningTime {
    pub(super) fn start() -> Self {
        let noted = Arc::new(Mutex::new(Noted::at(Instant::now())));
        let weak = Arc::downgrade(&noted);
        let note = move || {
            while let Some(noted) = weak.upgrade() {
                noted.lock().note();
                drop(noted);
                park_timeout(INTERVAL);
            }
        };
        let started = Builder::new().name("burn-trainer-clock".to_owned()).spawn(note);
        if let Err(error) = &started {
            log::warn!("time in which the process is suspended counts as training time: {error}");
        }
        Self { noted, notes: started.ok() }
    }

    /// Time since the start in which the process ran.
    pub(super) fn elapsed(&self) -> Duration {
        let mut noted = self.noted.lock();
        // Without the thread, the time since the last call says nothing.
        if self.notes.is_some() {
            noted.note();
            return noted.running();
        }
        noted.started.elapsed()
    }
}

impl Drop for RunningTime {
    fn drop(&mut self) {
        // The thread's handle on it is gone before it looks again.
        self.noted = Arc::default();
        if let Some(notes) = self.notes.take() {
            notes.thread().unpark();
            let _ = notes.join();
        }
    }
}

/// When the process was last seen running.
#[derive(Debug, Clone, Copy)]
struct Noted {
    started: Instant,
    last: Instant,
    suspended: Duration,
}

impl Default for Noted {
    fn default() -> Self {
        Self::at(Instant::now())
    }
}

impl Noted {
    fn at(now: Instant) -> Self {
        Self { started: now, last: now, suspended: Duration::ZERO }
    }

    /// The process runs now. The lock is held while the time is read: else another thread could have counted
    /// a gap that began after it.
    fn note(&mut self) {
        self.note_at(Instant::now());
    }

    fn note_at(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last);
        if gap >= SHORTEST {
            // It may have run until the next note was due.
            self.suspended += gap - INTERVAL;
        }
        self.last = self.last.max(now);
    }

    /// Time until the last note in which it ran.
    fn running(&self) -> Duration {
        self.last.saturating_duration_since(self.started).saturating_sub(self.suspended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The running time after notes at these milliseconds.
    fn running_after(milliseconds: impl IntoIterator<Item = u64>) -> u128 {
        let begun = Instant::now();
        let mut noted = Noted::at(begun);
        for at in milliseconds {
            noted.note_at(begun + Duration::from_millis(at));
        }
        noted.running().as_millis()
    }

    #[test]
    fn a_gap_between_two_notes_is_not_counted() {
        assert_eq!(running_after((0..=40).map(|note| note * 250)), 10_000);
        // An hour after 10 s.
        let notes = (0..=40).chain(14_440..=14_480).map(|note| note * 250);
        assert_eq!(running_after(notes), 10_000 + 250 + 10_000);
        // Two of them.
        assert_eq!(running_after([250, 60_250, 60_500, 90_500]), 250 + 250 + 250 + 250);
    }

    #[test]
    fn a_wait_for_a_busy_machine_counts() {
        assert_eq!(running_after([250, 2_249, 4_248]), 4_248);
    }

    #[test]
    fn the_thread_ends_with_the_clock() {
        let time = RunningTime::start();
        let thread = time.notes.as_ref().map(|notes| notes.thread().id());
        assert!(thread.is_some());
        let noted = Arc::downgrade(&time.noted);
        let before = time.elapsed();
        assert!(time.elapsed() >= before);
        drop(time);
        assert_eq!(noted.strong_count(), 0);
    }
}
