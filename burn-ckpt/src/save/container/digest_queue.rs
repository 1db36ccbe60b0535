//! Pieces of a file, in order, and what is computed of them beside the writing: its SHA-256, the digests of
//! its tensors.
//!
//! Two threads may compute. The one of the lowest priority begins. The one of the ordinary priority sleeps
//! until it takes over ([`Pace`]). It does not wait for the other: that one may not get a
//! processor for a long time in the middle of a piece. It computes the piece that is in progress once more,
//! from the state before that piece. Of two results for one piece the first counts, and they are equal.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::panics::panic_message;
use crate::save::low_priority::lower_priority;
use crate::save::urgency::{Pace, TakeOver};

/// How many pieces may wait to be computed on.
const QUEUED_PIECES: usize = 32;

/// What is computed of a file's pieces, one after the other.
pub(crate) trait Digesting: Clone + Send + 'static {
    type Piece: Clone + Send + 'static;
    /// What some of the pieces result in.
    type Output: Send + 'static;

    fn digest(&mut self, piece: &Self::Piece) -> Option<Self::Output>;
}

/// A file's pieces that wait to be digested, by two threads that end with it.
pub(crate) struct DigestQueue<D: Digesting> {
    shared: Arc<SharedQueue<D>>,
    pace: Arc<Pace>,
    /// When this save has given way for long enough.
    patience: Instant,
}

struct SharedQueue<D: Digesting> {
    inner: Mutex<Inner<D>>,
    changed: Condvar,
}

struct Inner<D: Digesting> {
    state: D,
    /// Not digested yet, or in progress.
    pieces: VecDeque<D::Piece>,
    /// The number of pieces that are digested.
    count: u64,
    outputs: Vec<D::Output>,
    /// What a piece made a thread panic with. Nothing is digested after it.
    panic: Option<String>,
    is_taken_over: bool,
    /// No piece will be added.
    is_closed: bool,
}

impl<D: Digesting> DigestQueue<D> {
    /// Starts the threads. They have `name`, and compute from `state` on.
    ///
    /// # Errors
    ///
    /// [`Error::WriterStopped`] when the thread of the ordinary priority cannot be started.
    pub(crate) fn start(name: &str, state: D, pace: &Arc<Pace>, patience: Instant) -> Result<Self> {
        let queue = Self::without_threads(state, pace, patience);
        let shared = Arc::clone(&queue.shared);
        let ordinary = thread::Builder::new().name(name.to_owned());
        ordinary.spawn(move || shared.work(true)).map_err(|source| Error::WriterStopped {
            reason: format!("the thread {name} cannot be started"),
            source: Some(source),
        })?;
        let shared = Arc::clone(&queue.shared);
        let low = thread::Builder::new().name(name.to_owned()).spawn(move || {
            lower_priority();
            shared.work(false);
        });
        if pace.is_urgent() || low.is_err() {
            queue.shared.take_over();
        } else {
            pace.add(queue.shared.clone());
        }
        Ok(queue)
    }

    fn without_threads(state: D, pace: &Arc<Pace>, patience: Instant) -> Self {
        let inner = Inner {
            state,
            pieces: VecDeque::new(),
            count: 0,
            outputs: Vec::new(),
            panic: None,
            is_taken_over: false,
            is_closed: false,
        };
        let shared = Arc::new(SharedQueue { inner: Mutex::new(inner), changed: Condvar::new() });
        Self { shared, pace: Arc::clone(pace), patience }
    }

    /// Adds a piece. Waits while too many wait.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] when a piece before it cannot be digested.
    pub(crate) fn push(&self, piece: D::Piece) -> Result<()> {
        self.wait_while(|inner| inner.pieces.len() >= QUEUED_PIECES)?.pieces.push_back(piece);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// What came of the pieces so far, once all of them are digested.
    ///
    /// # Errors
    ///
    /// As for [`DigestQueue::push`].
    pub(crate) fn take_outputs(&self) -> Result<Vec<D::Output>> {
        Ok(std::mem::take(&mut self.wait_while(|inner| !inner.pieces.is_empty())?.outputs))
    }

    /// The state after all pieces.
    ///
    /// # Errors
    ///
    /// As for [`DigestQueue::push`].
    pub(crate) fn finish(self) -> Result<D> {
        Ok(self.wait_while(|inner| !inner.pieces.is_empty())?.state.clone())
    }

    /// Waits as long as something is so. Ends giving way when its time is up.
    fn wait_while(&self, is_so: impl Fn(&Inner<D>) -> bool) -> Result<MutexGuard<'_, Inner<D>>> {
        let mut inner = self.shared.inner.lock();
        loop {
            if let Some(message) = &inner.panic {
                return Err(Error::Panicked { message: message.clone() });
            }
            if !is_so(&inner) {
                return Ok(inner);
            }
            if inner.is_taken_over {
                self.shared.changed.wait(&mut inner);
            } else if self.shared.changed.wait_until(&mut inner, self.patience).timed_out() {
                drop(inner);
                self.pace.hurry();
                inner = self.shared.inner.lock();
            }
        }
    }
}

impl<D: Digesting> Drop for DigestQueue<D> {
    fn drop(&mut self) {
        let mut inner = self.shared.inner.lock();
        inner.is_closed = true;
        // After an error, what is left is not needed.
        let left = std::mem::take(&mut inner.pieces);
        self.shared.changed.notify_all();
        drop(inner);
        drop(left);
    }
}

impl<D: Digesting> SharedQueue<D> {
    /// One of the two threads.
    fn work(&self, is_ordinary: bool) {
        let mut inner = self.inner.lock();
        loop {
            let (mut state, piece, number) = loop {
                if inner.is_closed || inner.is_taken_over && !is_ordinary {
                    return;
                }
                match inner.pieces.front() {
                    Some(piece) if is_ordinary == inner.is_taken_over => {
                        break (inner.state.clone(), piece.clone(), inner.count);
                    }
                    _ => self.changed.wait(&mut inner),
                }
            };
            drop(inner);
            let digested = catch_unwind(AssertUnwindSafe(|| state.digest(&piece)));
            inner = self.inner.lock();
            let output = match digested {
                Ok(output) => output,
                Err(panic) => {
                    inner.panic = Some(panic_message(&*panic));
                    self.changed.notify_all();
                    return;
                }
            };
            if inner.count == number && !inner.is_closed {
                inner.state = state;
                inner.count += 1;
                inner.outputs.extend(output);
                let done = inner.pieces.pop_front();
                self.changed.notify_all();
                drop(inner);
                // A tensor's memory may be freed here.
                drop((done, piece));
                inner = self.inner.lock();
            }
        }
    }
}

impl<D: Digesting> TakeOver for SharedQueue<D> {
    fn take_over(&self) {
        self.inner.lock().is_taken_over = true;
        self.changed.notify_all();
    }
}

impl<D: Digesting> fmt::Debug for SharedQueue<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestQueue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::*;

    /// The pieces in their order, of which one can be held back.
    #[derive(Clone, Default)]
    struct Joined {
        text: String,
        /// Says that the piece `stop` is in progress, and holds it until something is sent.
        held: Option<Arc<StoppedPiece>>,
    }

    /// Where a piece says that it is in progress, and where it waits.
    type StoppedPiece = (SyncSender<()>, Mutex<Receiver<()>>);

    impl Digesting for Joined {
        type Piece = &'static str;
        type Output = usize;

        fn digest(&mut self, piece: &&'static str) -> Option<usize> {
            let is_low = thread::current().name() == Some("low");
            if let (true, "stop", Some(held)) = (is_low, *piece, &self.held) {
                held.0.send(()).unwrap();
                let _ = held.1.lock().recv();
            }
            if *piece == "panic" {
                panic!("it was told to");
            }
            self.text.push_str(piece);
            (*piece == "end").then_some(self.text.len())
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn all_pieces_are_digested_in_order_at_either_priority() {
        for pace in [Pace::gentle(), Pace::urgent()] {
            let queue = DigestQueue::start("digests", Joined::default(), &Arc::new(pace), later()).unwrap();
            (0..2 * QUEUED_PIECES).for_each(|_| queue.push("ab").unwrap());
            queue.push("end").unwrap();
            assert_eq!(queue.take_outputs().unwrap(), [4 * QUEUED_PIECES + 3]);
            queue.push("last").unwrap();
            assert_eq!(queue.finish().unwrap().text, "ab".repeat(2 * QUEUED_PIECES) + "endlast");
        }
    }

    /// A queue whose thread of the lowest priority is in the middle of a piece and does not get on.
    fn stuck(pace: &Arc<Pace>, patience: Instant) -> (DigestQueue<Joined>, SyncSender<()>) {
        let ((in_progress, wait), (resume, held)) = (sync_channel(1), sync_channel(1));
        let held = Some(Arc::new((in_progress, Mutex::new(held))));
        let queue = DigestQueue::without_threads(Joined { text: String::new(), held }, pace, patience);
        let (low, ordinary) = (Arc::clone(&queue.shared), Arc::clone(&queue.shared));
        thread::Builder::new().name("low".to_owned()).spawn(move || low.work(false)).unwrap();
        thread::Builder::new().name("ordinary".to_owned()).spawn(move || ordinary.work(true)).unwrap();
        pace.add(queue.shared.clone());
        ["first", "stop", "end"].into_iter().for_each(|piece| queue.push(piece).unwrap());
        wait.recv().unwrap();
        (queue, resume)
    }

    #[test]
    fn a_save_that_is_waited_for_does_not_wait_for_the_lowest_priority() {
        let pace = Arc::new(Pace::gentle());
        let (queue, resume) = stuck(&pace, later());
        pace.hurry();
        assert_eq!(queue.take_outputs().unwrap(), ["firststopend".len()]);
        // What the other thread has computed meanwhile does not count.
        resume.send(()).unwrap();
        queue.push("last").unwrap();
        assert_eq!(queue.finish().unwrap().text, "firststopendlast");
    }

    #[test]
    fn giving_way_ends_by_itself() {
        let pace = Arc::new(Pace::gentle());
        let (queue, _resume) = stuck(&pace, Instant::now());
        assert_eq!(queue.finish().unwrap().text, "firststopend");
        assert!(pace.is_urgent());
    }

    #[test]
    fn a_panic_is_an_error_of_the_save() {
        let queue =
            DigestQueue::start("digests", Joined::default(), &Arc::new(Pace::gentle()), later()).unwrap();
        queue.push("panic").unwrap();
        let error = queue.finish().map(|joined| joined.text).unwrap_err();
        assert!(matches!(&error, Error::Panicked { message } if message == "it was told to"), "{error:?}");
    }
}
