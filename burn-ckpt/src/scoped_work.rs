//! Work on threads of a scope. Where the system grants no thread, the work is done on the calling one.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use parking_lot::Mutex;

/// Work that was given to [`start`].
pub enum ScopedWork<'scope, T> {
    /// It is done on a thread.
    Started(ScopedJoinHandle<'scope, Option<T>>),
    /// It is done.
    Done(T),
}

/// Starts work on a thread of a scope. Does it at once on this thread where none can be started.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedWork<'scope, T> {
    start_on(Builder::new(), scope, work)
}

fn start_on<'scope, T: Send + 'scope>(
    thread: Builder,
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedWork<'scope, T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = Arc::clone(&work);
    let take = |work: &Mutex<Option<_>>| work.lock().take();
    match thread.spawn_scoped(scope, move || take(&theirs).map(|work| work())) {
        Ok(started) => ScopedWork::Started(started),
        Err(error) => {
            log::debug!("no thread could be started, and the work is done on this one: {error}");
            match take(&work) {
                Some(work) => ScopedWork::Done(work()),
                None => unreachable!("a thread that was not started takes no work"),
            }
        }
    }
}

impl<T> ScopedWork<'_, T> {
    /// The result. A panic of the work continues here.
    pub fn join(self) -> T {
        match self {
            Self::Done(result) => result,
            Self::Started(thread) => match thread.join() {
                Ok(Some(result)) => result,
                Ok(None) => unreachable!("a thread that was started takes its work"),
                Err(panic) => resume_unwind(panic),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn work_is_done_with_a_thread_and_without() {
        let this = thread::current().id();
        thread::scope(|scope| {
            let on_thread = start(scope, || thread::current().id());
            assert_ne!(on_thread.join(), this);
            // More than the address space has.
            let impossible = Builder::new().stack_size(usize::MAX / 4);
            let here = start_on(impossible, scope, || thread::current().id());
            assert!(matches!(here, ScopedWork::Done(_)));
            assert_eq!(here.join(), this);
        });
    }
}
