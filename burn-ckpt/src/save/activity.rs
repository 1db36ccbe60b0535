//! What the writer's thread is doing, and waiting for it as long as it makes progress.
//!
//! A save that reads from a lost device can hang forever. One that has read everything ends soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::save::queue::Queue;
use crate::save::read_progress::ReadProgress;
use crate::save::request::SaveRequest;
use crate::save::urgency::Urgency;

const POLL: Duration = Duration::from_millis(10);

/// A view of the writer for another thread than the one that submits states. It can outlive the writer.
#[derive(Clone)]
pub struct WriterActivity {
    pub(crate) queue: Arc<Queue<Vec<SaveRequest>>>,
    pub(crate) reading: Arc<ReadProgress>,
    pub(crate) urgency: Arc<Urgency>,
}

impl WriterActivity {
    /// Whether nothing is being written and no state waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Waits until nothing is being written and no state waits. Stops waiting after `limit`, or when nothing
    /// has been read from a device for `stuck_after`. Returns whether everything is written.
    #[must_use]
    pub fn wait(&self, limit: Duration, stuck_after: Duration) -> bool {
        let _waits = self.urgency.wait_guard();
        let start = Instant::now();
        let mut last_count = self.reading.count();
        let mut last_change = start;
        loop {
            if self.is_idle() {
                return true;
            }
            let count = self.reading.count();
            if count != last_count || !self.reading.is_active() {
                (last_count, last_change) = (count, Instant::now());
            }
            if start.elapsed() >= limit || last_change.elapsed() >= stuck_after {
                return false;
            }
            self.queue.wait(POLL);
        }
    }
}
