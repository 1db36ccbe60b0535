//! The wait for a store's answer: how long it takes at most, what is said of a long one, and what ends it early.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::mirror::store::connection::Store;

/// How long a store may take for an answer without content. A part of a checkpoint has the client's own limit.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// What is left of a slow connection, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// After how long a wait is said.
const SAID_AFTER: Duration = Duration::from_secs(10);
/// How often it is looked for what ends a wait early.
const POLL: Duration = Duration::from_millis(50);

/// What the wait for a store's answer does. The default writes one line to the log, and waits.
#[doc(hidden)]
#[derive(Clone)]
pub struct OnWait {
    say: Arc<dyn Fn(&str) + Send + Sync>,
    is_stopped: Arc<dyn Fn() -> bool + Send + Sync>,
    is_said: Arc<AtomicBool>,
}

impl OnWait {
    /// `say` gets one line for all waits. A wait ends with an error once it `is_stopped`.
    #[must_use]
    pub fn new(
        say: impl Fn(&str) + Send + Sync + 'static,
        is_stopped: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { say: Arc::new(say), is_stopped: Arc::new(is_stopped), is_said: Arc::default() }
    }
}

impl Default for OnWait {
    fn default() -> Self {
        Self::new(|line| log::warn!("{line}"), || false)
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}

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
