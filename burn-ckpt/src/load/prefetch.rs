//! Reading ahead: a few threads read the tensors that are asked for next (with all that reading one includes: hashing,
//! transposing, casting), while the caller makes parameters of those before them.
//!
//! Files are read and never mapped: one that is cut while it is mapped ends the process by a signal, where a read ends
//! in an error.
//!
//! ```text
//! reader threads: claim the next tensors -> read -> put them down     | as far ahead as AHEAD_BYTES
//! the caller:     asks for one: it is there | being read: wait | not claimed yet: read it here
//! ```
//!
//! Nobody waits for a tensor that no one is reading, so that the order in which the caller asks is a matter of speed.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use burn_pack::{Bytes, Error, Tensor};

use crate::panics::panic_message;

/// How many bytes are read before they are asked for, unless a single tensor is larger. A device with memory of its own
/// takes its copy then, so this bounds what a load needs of the host's; on the CPU they become the parameters.
const AHEAD_BYTES: usize = 256 * 1024 * 1024;
/// More threads than this wait for the memory or the disk.
const MAX_THREADS: usize = 4;
/// Small tensors are claimed together: handing one over costs more than reading it.
const CLAIM_BYTES: usize = 256 * 1024;
/// What is smaller is read before a thread has started.
const WORTH_THREADS_BYTES: usize = 2 * 1024 * 1024;

/// A tensor to be read, and the memory that this takes.
pub(crate) struct Wanted {
    pub(crate) tensor: Tensor,
    pub(crate) cost: usize,
}

/// A tensor that could not be read.
pub(crate) struct Failure {
    /// Its place in the order in which they were given.
    pub(crate) index: usize,
    pub(crate) error: Error,
}

/// Gives `consume` the tensors to read in whatever order, best in that in which they stand here, and each once. Returns
/// what it returns, and the first of the tensors that could not be read; once there is one, no other is read.
///
/// No thread is left when this returns or unwinds.
pub(crate) fn read_ahead<T>(
    wanted: Vec<Wanted>,
    consume: impl FnOnce(Vec<Tensor>) -> T,
) -> (T, Option<Failure>) {
    let total: usize = wanted.iter().map(|wanted| wanted.cost).sum();
    let threads = match thread::available_parallelism().map_or(1, NonZeroUsize::get) {
        1 => 0,
        _ if total < WORTH_THREADS_BYTES || wanted.len() < 2 => 0,
        cores => cores.min(MAX_THREADS).min(wanted.len()),
    };
    Limits { threads, ahead: AHEAD_BYTES, claim: CLAIM_BYTES }.read_ahead(wanted, consume)
}

struct Limits {
    threads: usize,
    ahead: usize,
    claim: usize,
}

impl Limits {
    fn read_ahead<T>(
        self,
        wanted: Vec<Wanted>,
        consume: impl FnOnce(Vec<Tensor>) -> T,
    ) -> (T, Option<Failure>) {
        let threads = self.threads;
        let queue = Arc::new(Queue::new(wanted, self));
        let handed_out = (0..queue.wanted.len()).map(|index| Queue::deferred(&queue, index)).collect();
        let consumed = thread::scope(|scope| {
            let _stop = StopAtEnd(&queue);
            for _ in 0..threads {
                // Where the system has no thread left, the caller reads by itself.
                if thread::Builder::new().spawn_scoped(scope, || queue.read_all()).is_err() {
                    break;
                }
            }
            consume(handed_out)
        });
        let failure = queue.state().failure.take();
        (consumed, failure)
    }
}

/// What the threads share.
struct Queue {
    wanted: Vec<Wanted>,
    limits: Limits,
    state: Mutex<State>,
    /// A tensor was put down.
    ready: Condvar,
    /// A tensor was taken, so that there is room for others.
    room: Condvar,
}

struct State {
    slots: Vec<Slot>,
    /// All before it are claimed, or have been.
    next: usize,
    /// The cost of what readers have claimed and nobody has taken yet.
    ahead: usize,
    /// Readers that wait for room.
    waiting: usize,
    stopped: bool,
    failure: Option<Failure>,
}

enum Slot {
    Unread,
    Claimed,
    Ready(Bytes),
    Failed,
    Taken,
}

/// Ends the readers when the caller is done, or unwinds.
struct StopAtEnd<'a>(&'a Queue);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop(&mut self.0.state());
    }
}

impl Queue {
    fn new(wanted: Vec<Wanted>, limits: Limits) -> Self {
        let slots = wanted.iter().map(|_| Slot::Unread).collect();
        let state = Mutex::new(State { slots, next: 0, ahead: 0, waiting: 0, stopped: false, failure: None });
        Self { wanted, limits, state, ready: Condvar::new(), room: Condvar::new() }
    }

    /// A tensor whose bytes are what the readers have put down, or will.
    fn deferred(queue: &Arc<Self>, index: usize) -> Tensor {
        let Tensor { name, dtype, shape, param_id, .. } = &queue.wanted[index].tensor;
        let (length, own) = (queue.wanted[index].tensor.byte_len(), Arc::clone(queue));
        Tensor::deferred(name.clone(), *dtype, shape.clone(), *param_id, length, move || own.take(index))
    }

    fn take(&self, index: usize) -> Result<Bytes, Error> {
        let mut state = self.state();
        loop {
            match state.slots[index] {
                Slot::Claimed => state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Slot::Failed => return Err(not_read()),
                Slot::Unread if state.stopped => return Err(not_read()),
                _ => break,
            }
        }
        match std::mem::replace(&mut state.slots[index], Slot::Taken) {
            Slot::Ready(bytes) => {
                state.ahead -= self.wanted[index].cost;
                if state.waiting > 0 {
                    self.room.notify_all();
                }
                Ok(bytes)
            }
            // No reader has come to it yet, or it is asked for once more.
            _ => {
                drop(state);
                let read = read(&self.wanted[index].tensor);
                read.map_err(|error| {
                    self.fail(&mut self.state(), index, error);
                    not_read()
                })
            }
        }
    }

    /// A reader thread.
    fn read_all(&self) {
        while let Some(claimed) = self.claim() {
            let (start, mut done, mut failed) = (claimed.start, Vec::with_capacity(claimed.len()), None);
            for wanted in &self.wanted[claimed.clone()] {
                match read(&wanted.tensor) {
                    Ok(bytes) => done.push(Slot::Ready(bytes)),
                    Err(error) => {
                        failed = Some((start + done.len(), error));
                        break;
                    }
                }
            }
            done.resize_with(claimed.len(), || Slot::Failed);
            let mut state = self.state();
            state.slots.splice(claimed, done);
            if let Some((index, error)) = failed {
                self.fail(&mut state, index, error);
            }
            drop(state);
            self.ready.notify_all();
        }
    }

    /// The next tensors that nobody reads, as soon as there is room for them. None when there are none, or no more are
    /// wanted.
    fn claim(&self) -> Option<Range<usize>> {
        let mut state = self.state();
        loop {
            while matches!(state.slots.get(state.next), Some(Slot::Taken)) {
                state.next += 1;
            }
            let start = state.next;
            let first = self.wanted.get(start).filter(|_| !state.stopped)?.cost;
            if state.ahead > 0 && state.ahead + first > self.limits.ahead {
                state.waiting += 1;
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
                continue;
            }
            let mut cost = 0;
            let limit = self.limits.claim.min(self.limits.ahead.saturating_sub(state.ahead));
            while let (Some(Slot::Unread), Some(wanted)) =
                (state.slots.get(state.next), self.wanted.get(state.next))
            {
                if state.next > start && cost + wanted.cost > limit {
                    break;
                }
                cost += wanted.cost;
                let next = state.next;
                state.slots[next] = Slot::Claimed;
                state.next += 1;
            }
            state.ahead += cost;
            return Some(start..state.next);
        }
    }

    /// Notes that a tensor could not be read. Those before it are claimed, and their readers go on to their ends: the
    /// first one that is damaged is the same whoever comes first.
    fn fail(&self, state: &mut State, index: usize, error: Error) {
        if state.failure.as_ref().is_none_or(|failure| index < failure.index) {
            state.failure = Some(Failure { index, error });
        }
        self.stop(state);
    }

    fn stop(&self, state: &mut State) {
        state.stopped = true;
        self.room.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the caller is told; the reason is in [`Failure`].
fn not_read() -> Error {
    Error::IoError("a tensor could not be read".to_owned())
}

/// A tensor's bytes in memory. A panic in reading (a device's, or in a conversion) is an error.
fn read(tensor: &Tensor) -> Result<Bytes, Error> {
    let read = || {
        let bytes = tensor.to_bytes()?;
        // Not as a slice: that panics when the file was cut in the meantime.
        bytes.read(Default::default()).map_err(|error| Error::IoError(error.to_string()))?;
        Ok(bytes)
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        Err(Error::ValidationError(format!("reading it panicked: {}", panic_message(&*panic))))
    })
}

#[cfg(test)]
mod tests;
