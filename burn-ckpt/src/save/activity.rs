//! What the writer's thread is doing, for somebody who may wait for it only while it gets on.
//!
//! A save that reads from a device that is gone can hang for ever; one that has read everything is worth waiting for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::save::queue::Queue;
use crate::save::read_progress::ReadProgress;
use crate::save::request::SaveRequest;

const POLL: Duration = Duration::from_millis(10);

/// A view of the writer that outlives whoever holds it.
#[derive(Clone)]
pub struct WriterActivity {
    pub(crate) queue: Arc<Queue<Vec<SaveRequest>>>,
    pub(crate) reading: Arc<ReadProgress>,
}

impl WriterActivity {
    /// Whether nothing is written and nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Waits until nothing is written and nothing waits. Gives up after `limit`, or when a device has given nothing for
    /// `stuck_after`. Returns whether all is written.
    #[must_use]
    pub fn wait(&self, limit: Duration, stuck_after: Duration) -> bool {
        let start = Instant::now();
        let read = || self.reading.read_so_far();
        let (mut seen, mut since) = (read(), start);
        loop {
            if self.is_idle() {
                return true;
            }
            let now = read();
            if now != seen || !self.reading.is_under_way() {
                (seen, since) = (now, Instant::now());
            }
            if start.elapsed() >= limit || since.elapsed() >= stuck_after {
                return false;
            }
            self.queue.wait(POLL);
        }
    }
}
