//! Threads that do not end when the run does: they are waited for, for a limited time, and left behind.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::console::warn;
use super::progress::figures::span;

/// How long a thread may take to end.
const LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);

/// Joins the workers of a data loader that have been told to end.
pub(crate) fn join_workers(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    let begun = Instant::now();
    let mut left = 0;
    for thread in threads {
        while !thread.is_finished() && begun.elapsed() < LIMIT {
            sleep(POLL);
        }
        if thread.is_finished() {
            // A panic of a worker was printed, and the calling thread made its batches.
            let _ = thread.join();
        } else {
            left += 1;
        }
    }
    if left > 0 {
        warn_of(&format!("{left} of the workers of a data loader did"));
    }
}

/// A data loader that may be another crate's: when the last owner drops it, it can wait for its workers
/// forever.
pub(crate) struct DropWithLimit<T: ?Sized + Send + Sync + 'static>(Option<Arc<T>>);

impl<T: ?Sized + Send + Sync> DropWithLimit<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Some(value))
    }
}

impl<T: ?Sized + Send + Sync> Deref for DropWithLimit<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| unreachable!("it is taken when it is dropped"))
    }
}

impl<T: ?Sized + Send + Sync> Drop for DropWithLimit<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take().filter(|value| Arc::strong_count(value) == 1) else { return };
        let (done, dropped) = channel();
        let drop_it = move || {
            drop(value);
            let _ = done.send(());
        };
        // A loader of ours waits for the same limit, and says so itself.
        let started = Builder::new().name("burn-trainer-drop".to_owned()).spawn(drop_it);
        if started.is_ok() && dropped.recv_timeout(2 * LIMIT).is_err() {
            warn_of("the workers of a data loader did");
        }
    }
}

fn warn_of(subject: &str) {
    let limit = span(LIMIT.as_secs_f64());
    warn(&format!(
        "{subject} not end within {limit} after training, as a batch is still being made: the program does not wait for them longer. \
         See what the data set or the batcher waits for"
    ));
}
