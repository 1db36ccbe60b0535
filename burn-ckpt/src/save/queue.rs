//! What waits for the writer's thread: a bounded queue that counts what is being worked on, and from which something that
//! waits can be replaced.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Items for one thread, at most so many of which wait while that thread works on another.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
    max_waiting: usize,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    /// The thread works on an item that it has taken.
    busy: bool,
    /// No item will come any more.
    closed: bool,
    /// Nobody will take an item any more.
    abandoned: bool,
}

/// What became of an item that was to be put in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push<T> {
    /// It is in.
    Done,
    /// It is in, and this one is out.
    Replaced(T),
    /// There is no room for it.
    Full(T),
    /// Nobody will take it.
    Abandoned,
}

impl<T> Queue<T> {
    pub(crate) fn new(max_waiting: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), busy: false, closed: false, abandoned: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), max_waiting }
    }

    /// Puts an item in. Where there is no room, the one that came last makes room if `replaces` says so of it.
    pub(crate) fn push(&self, item: T, replaces: impl FnOnce(&T) -> bool) -> Push<T> {
        let mut inner = self.lock();
        if inner.abandoned {
            return Push::Abandoned;
        }
        // A thread that is idle is about to take the first one.
        let room = self.max_waiting + usize::from(!inner.busy);
        let replaced = match inner.waiting.len() < room {
            true => None,
            false if inner.waiting.back().is_some_and(replaces) => inner.waiting.pop_back(),
            false => return Push::Full(item),
        };
        inner.waiting.push_back(item);
        self.changed.notify_all();
        replaced.map_or(Push::Done, Push::Replaced)
    }

    /// Waits until something has changed, for so long at most.
    pub(crate) fn wait(&self, limit: Duration) {
        let waited = self.changed.wait_timeout(self.lock(), limit);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether nothing is worked on and nothing waits, now or ever again.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.abandoned || (!inner.busy && inner.waiting.is_empty())
    }

    /// No item will come any more: the thread ends when it has taken those that there are.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The end that takes the items. When it is dropped, the queue is abandoned.
    pub(crate) fn take_from(&self) -> Taking<'_, T> {
        Taking(self)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // A panic elsewhere leaves the queue usable: each change is a single step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The items in their order, until the queue is closed.
pub(crate) struct Taking<'a, T>(&'a Queue<T>);

impl<T> Iterator for Taking<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut inner = self.0.lock();
        inner.busy = false;
        self.0.changed.notify_all();
        loop {
            if let Some(item) = inner.waiting.pop_front() {
                inner.busy = true;
                self.0.changed.notify_all();
                return Some(item);
            }
            if inner.closed {
                return None;
            }
            inner = self.0.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Taking<'_, T> {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_worked_on_and_so_many_wait() {
        for max_waiting in 0..3 {
            let queue = Queue::new(max_waiting);
            let mut taking = queue.take_from();
            assert_eq!(queue.push(0, |_| false), Push::Done);
            assert_eq!(taking.next(), Some(0));
            for item in 0..max_waiting {
                assert_eq!(queue.push(item, |_| false), Push::Done, "of {max_waiting}");
            }
            assert_eq!(queue.push(9, |_| false), Push::Full(9), "of {max_waiting}");
        }
    }

    #[test]
    fn the_last_one_that_waits_is_replaced_if_it_may_be() {
        let queue = Queue::new(2);
        let mut taking = queue.take_from();
        for item in [1, 2, 3] {
            assert_eq!(queue.push(item, |_| false), Push::Done);
            if item == 1 {
                assert_eq!(taking.next(), Some(1));
            }
        }
        assert_eq!(queue.push(4, |waiting| *waiting == 2), Push::Full(4), "2 is not the last one");
        assert_eq!(queue.push(4, |waiting| *waiting == 3), Push::Replaced(3));
        queue.close();
        assert_eq!(taking.collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let queue = Queue::new(1);
        drop(queue.take_from());
        assert_eq!(queue.push(1, |_| true), Push::Abandoned);
    }
}
