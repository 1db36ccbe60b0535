//! Reading ahead: up to 4 threads read the next tensors, while the caller makes parameters of the tensors
//! before them. Reading includes hashing, transposing and casting.
//!
//! Files are read, not mapped into memory: if a mapped file is cut off, a signal ends the process, where a
//! read fails with an error.
//!
//! ```text
//! reader threads: claim the next tensors -> read -> store them        | up to AHEAD_BYTES ahead of the caller
//! the caller:     takes one: stored: take it | claimed: wait for it | not claimed: read it here
//! ```
//!
//! The caller waits only for tensors that a thread is reading. So any order of taking them works, and only
//! the speed differs.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use burn_pack::{Bytes, Error, Tensor};
use parking_lot::{Condvar, Mutex};

use crate::panics::panic_message;

/// How many bytes are read ahead, unless a single tensor is larger. A device with memory of its own copies
/// the bytes when they are taken, so this bounds the host memory of a load. On the CPU the bytes become the
/// parameters.
const AHEAD_BYTES: usize = 256 * 1024 * 1024;
/// With more threads, memory or disk bandwidth limits the speed.
const MAX_THREADS: usize = 4;
/// Small tensors are claimed together, as passing one to another thread takes longer than reading it.
const CLAIM_BYTES: usize = 256 * 1024;
/// A smaller total is read faster than threads start.
const WORTH_THREADS_BYTES: usize = 2 * 1024 * 1024;

/// A tensor to read, and the memory that reading takes.
pub(crate) struct Wanted {
    pub(crate) tensor: Tensor,
    pub(crate) cost: usize,
}

/// A tensor that could not be read.
pub(crate) struct Failure {
    /// Its index in the list of tensors.
    pub(crate) index: usize,
    pub(crate) error: Error,
}

/// Calls `consume` with the tensors, of which it reads each once, ideally in this order. Returns its result,
/// and the first tensor that could not be read. After a failure no further tensor is read.
///
/// All threads have ended when this returns or unwinds.
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
        let deferred = (0..queue.wanted.len()).map(|index| Queue::deferred(&queue, index)).collect();
        let consumed = thread::scope(|scope| {
            let _stop = StopAtEnd(&queue);
            for _ in 0..threads {
                // If no thread can be started, the caller reads the tensors itself.
                if thread::Builder::new().spawn_scoped(scope, || queue.read_all()).is_err() {
                    break;
                }
            }
            consume(deferred)
        });
        let failure = queue.state.lock().failure.take();
        (consumed, failure)
    }
}

/// The state that the threads share.
struct Queue {
    wanted: Vec<Wanted>,
    limits: Limits,
    state: Mutex<State>,
    /// A tensor was stored.
    ready: Condvar,
    /// A tensor was taken, which makes room for others.
    room: Condvar,
}

struct State {
    slots: Vec<Slot>,
    /// All tensors before this one are claimed, stored or taken.
    next: usize,
    /// The cost of the tensors that are claimed or stored and not taken yet.
    ahead: usize,
    /// How many readers wait for room.
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
        self.0.stop(&mut self.0.state.lock());
    }
}

impl Queue {
    fn new(wanted: Vec<Wanted>, limits: Limits) -> Self {
        let slots = wanted.iter().map(|_| Slot::Unread).collect();
        let state = Mutex::new(State { slots, next: 0, ahead: 0, waiting: 0, stopped: false, failure: None });
        Self { wanted, limits, state, ready: Condvar::new(), room: Condvar::new() }
    }

    /// A tensor whose bytes are those that a reader stores.
    fn deferred(queue: &Arc<Self>, index: usize) -> Tensor {
        let Tensor { name, dtype, shape, param_id, .. } = &queue.wanted[index].tensor;
        let (length, own) = (queue.wanted[index].tensor.byte_len(), Arc::clone(queue));
        Tensor::deferred(name.clone(), *dtype, shape.clone(), *param_id, length, move || own.take(index))
    }

    fn take(&self, index: usize) -> Result<Bytes, Error> {
        let mut state = self.state.lock();
        loop {
            match state.slots[index] {
                Slot::Claimed => self.ready.wait(&mut state),
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
            // No reader has claimed it, or it was taken before.
            _ => {
                drop(state);
                let read = read(&self.wanted[index].tensor);
                read.map_err(|error| {
                    self.fail(&mut self.state.lock(), index, error);
                    not_read()
                })
            }
        }
    }

    /// What a reader thread does.
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
            let mut state = self.state.lock();
            state.slots.splice(claimed, done);
            if let Some((index, error)) = failed {
                self.fail(&mut state, index, error);
            }
            drop(state);
            self.ready.notify_all();
        }
    }

    /// Claims the next tensors, and waits for room first. `None` when there are no more, or the readers are
    /// to stop.
    fn claim(&self) -> Option<Range<usize>> {
        let mut state = self.state.lock();
        loop {
            while matches!(state.slots.get(state.next), Some(Slot::Taken)) {
                state.next += 1;
            }
            let start = state.next;
            let first = self.wanted.get(start).filter(|_| !state.stopped)?.cost;
            if state.ahead > 0 && state.ahead + first > self.limits.ahead {
                state.waiting += 1;
                self.room.wait(&mut state);
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

    /// Records that a tensor could not be read. The tensors before it are claimed already and will be read to
    /// the end, so that the first failure is the same in every run.
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
}

/// The error that the caller gets. The reason is in [`Failure`].
fn not_read() -> Error {
    Error::IoError("a tensor could not be read".to_owned())
}

/// Reads a tensor's bytes into memory. A panic while reading (in a device or a conversion) becomes an error.
fn read(tensor: &Tensor) -> Result<Bytes, Error> {
    let read = || {
        let bytes = tensor.to_bytes()?;
        // A slice of a file-backed buffer would panic if the file was cut off in the meantime.
        bytes.read(Default::default()).map_err(|error| Error::IoError(error.to_string()))?;
        Ok(bytes)
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        Err(Error::ValidationError(format!("reading it panicked: {}", panic_message(&*panic))))
    })
}

#[cfg(test)]
mod tests;
