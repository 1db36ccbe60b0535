//! The wait for a store's answer: how long it takes at most, and when a long one is said.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::mirror::store::connection::Store;

/// How long a store may take for an answer without content. A part of a checkpoint has the client's own
/// limit.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// What is left of a slow connection, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// After how long a wait is said.
const SAID_AFTER: Duration = Duration::from_secs(10);
/// How often it is looked for what ends a wait early.
const POLL: Duration = Duration::from_millis(50);

impl Store {
    /// Waits for the answer to a request with so many bytes, in it or in its answer.
    pub(super) fn run<T: Send>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>> + Send,
    ) -> object_store::Result<T> {
        let limit = ANSWER_LIMIT + Duration::from_secs(bytes / SLOWEST);
        let begun = Instant::now();
        let mut request = pin!(request);
        loop {
            let answer = self.block_on(async { tokio::time::timeout(POLL, request.as_mut()).await });
            if let Ok(answer) = answer {
                return answer;
            }
            self.say_wait(begun, limit);
            if self.is_stopped() {
                return Err(ended(ErrorKind::Interrupted));
            }
            if begun.elapsed() >= limit {
                return Err(ended(ErrorKind::TimedOut));
            }
        }
    }

    /// Says once that the store does not answer, after a while.
    pub(super) fn say_wait(&self, begun: Instant, limit: Duration) {
        if begun.elapsed() >= SAID_AFTER && !self.on_wait.is_said.swap(true, Ordering::Relaxed) {
            let (address, limit) = (self.address(), limit.as_secs());
            (self.on_wait.say)(&format!(
                "{address} has not answered for {} s: waiting for it, {limit} s at most",
                SAID_AFTER.as_secs()
            ));
        }
    }

    /// Whether the user has ended what waits.
    pub(super) fn is_stopped(&self) -> bool {
        (self.on_wait.is_stopped)()
    }
}

/// The error of a request that was given up.
pub(super) fn ended(kind: ErrorKind) -> object_store::Error {
    object_store::Error::Generic { store: "mirror", source: Box::new(io::Error::from(kind)) }
}
