//! The queue to the writer's thread: bounded, counting the item in progress, and able to replace its newest
//! item.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Items for one thread. While the thread works on an item, at most `max_waiting` others wait.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
    max_waiting: usize,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    /// The thread is working on an item that it has taken.
    busy: bool,
    /// No further item will be pushed.
    closed: bool,
    /// The thread has ended: no further item will be taken.
    abandoned: bool,
}

/// The result of [`Queue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push<T> {
    /// The item is in the queue.
    Done,
    /// The item is in the queue in place of this one.
    Replaced(T),
    /// The queue is full. The item is returned.
    Full(T),
    /// The thread that takes items has ended.
    Abandoned,
}

impl<T> Queue<T> {
    pub(crate) fn new(max_waiting: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), busy: false, closed: false, abandoned: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), max_waiting }
    }

    /// Adds an item. If the queue is full, the item replaces the newest one, if `may_be_replaced` is true for
    /// it.
    pub(crate) fn push(&self, item: T, may_be_replaced: impl FnOnce(&T) -> bool) -> Push<T> {
        let mut inner = self.inner.lock();
        if inner.abandoned {
            return Push::Abandoned;
        }
        // An idle thread is about to take the first item.
        let room = self.max_waiting + usize::from(!inner.busy);
        let replaced = match inner.waiting.len() < room {
            true => None,
            false if inner.waiting.back().is_some_and(may_be_replaced) => inner.waiting.pop_back(),
            false => return Push::Full(item),
        };
        inner.waiting.push_back(item);
        self.changed.notify_all();
        replaced.map_or(Push::Done, Push::Replaced)
    }

    /// Waits until the queue changes, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        self.changed.wait_for(&mut self.inner.lock(), limit);
    }

    /// Whether no item is in progress and none waits, now or later.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.abandoned || (!inner.busy && inner.waiting.is_empty())
    }

    /// Whether an item waits, or the queue is closed: other work of the thread gives way.
    pub(crate) fn needs_its_thread(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed || !inner.waiting.is_empty()
    }

    /// Whether an item can still be pushed.
    pub(crate) fn is_open(&self) -> bool {
        !self.inner.lock().closed
    }

    /// Declares that no further item will be pushed: the thread ends after the items in the queue.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }

    /// The items in their order, until the queue is closed. Dropping the iterator abandons the queue.
    pub(crate) fn items(&self) -> Items<'_, T> {
        Items(self)
    }
}

/// Takes items from a [`Queue`].
pub(crate) struct Items<'a, T>(&'a Queue<T>);

impl<T> Items<'_, T> {
    /// Declares that the last item is done. Returns whether none waits and the queue is open, so that there
    /// is time for other work.
    pub(crate) fn has_time(&mut self) -> bool {
        let mut inner = self.0.inner.lock();
        inner.busy = false;
        self.0.changed.notify_all();
        inner.waiting.is_empty() && !inner.closed
    }
}

impl<T> Iterator for Items<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut inner = self.0.inner.lock();
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
            self.0.changed.wait(&mut inner);
        }
    }
}

impl<T> Drop for Items<'_, T> {
    fn drop(&mut self) {
        self.0.inner.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_is_in_progress_and_max_waiting_wait() {
        for max_waiting in 0..3 {
            let queue = Queue::new(max_waiting);
            let mut items = queue.items();
            assert_eq!(queue.push(0, |_| false), Push::Done);
            assert_eq!(items.next(), Some(0));
            for item in 0..max_waiting {
                assert_eq!(queue.push(item, |_| false), Push::Done, "of {max_waiting}");
            }
            assert_eq!(queue.push(9, |_| false), Push::Full(9), "of {max_waiting}");
        }
    }

    #[test]
    fn only_the_newest_item_is_replaced() {
        let queue = Queue::new(2);
        let mut items = queue.items();
        for item in [1, 2, 3] {
            assert_eq!(queue.push(item, |_| false), Push::Done);
            if item == 1 {
                assert_eq!(items.next(), Some(1));
            }
        }
        assert_eq!(queue.push(4, |waiting| *waiting == 2), Push::Full(4), "2 is not the newest one");
        assert_eq!(queue.push(4, |waiting| *waiting == 3), Push::Replaced(3));
        queue.close();
        assert_eq!(items.collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn an_abandoned_queue_takes_no_items() {
        let queue = Queue::new(1);
        drop(queue.items());
        assert_eq!(queue.push(1, |_| true), Push::Abandoned);
    }
}
