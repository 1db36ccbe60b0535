//! Who waits for a save, and when its digests stop giving way to the training loop.
//!
//! A save's digests are computed at the lowest priority ([`low_priority`](crate::save::low_priority)), which
//! an ordinary user cannot raise again. So each queue of bytes to hash has a second thread, of the ordinary
//! priority, which takes over once the save is urgent: as soon as it is waited for, or when giving way has
//! made it many times as long as hashing takes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a save gives way for each MiB of the state: about 20 times as long as its digests take with the
/// processor's instructions. So a loop that uses all processors loses at most a twentieth to digests.
const PATIENCE_PER_MIB: Duration = Duration::from_millis(20);
/// How long a small save gives way.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// Something whose thread of the ordinary priority can take over.
pub(crate) trait TakeOver: fmt::Debug + Send + Sync {
    fn take_over(&self);
}

/// Who waits for a writer's saves.
#[derive(Debug, Default)]
pub(crate) struct Urgency(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    /// Whether the caller had to wait for room for the last state. Then the saves after it do not give way.
    had_to_wait: bool,
    /// Since when saves are waited for, or states find no room.
    since: Option<Instant>,
    current: Option<Arc<Pace>>,
}

impl Urgency {
    /// Saves are waited for as long as the guard lives.
    pub(crate) fn wait_guard(&self) -> WaitGuard<'_> {
        let mut waiting = self.0.lock();
        waiting.count += 1;
        waiting.had_to_wait = true;
        waiting.since.get_or_insert_with(Instant::now);
        if let Some(pace) = &waiting.current {
            pace.hurry();
        }
        drop(waiting);
        WaitGuard(self)
    }

    /// A state is submitted, for which the caller did not have to wait yet.
    pub(crate) fn new_state(&self) {
        self.0.lock().had_to_wait = false;
    }

    /// A state was skipped, as there was no room for it.
    pub(crate) fn found_no_room(&self) {
        self.0.lock().since.get_or_insert_with(Instant::now);
    }

    /// A state has found room.
    pub(crate) fn found_room(&self) {
        let mut waiting = self.0.lock();
        if waiting.count == 0 {
            waiting.since = None;
        }
    }

    /// Whether what the writer's thread does has held up its caller for this long.
    pub(crate) fn holds_up_for(&self, long: Duration) -> bool {
        self.0.lock().since.is_some_and(|since| since.elapsed() >= long)
    }

    /// Saves are waited for from now on.
    pub(crate) fn stay_urgent(&self) {
        std::mem::forget(self.wait_guard());
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.lock().count > 0
    }

    /// A save begins.
    pub(crate) fn begin(&self, urgent: bool) -> Arc<Pace> {
        let mut waiting = self.0.lock();
        let pace = Arc::new(if urgent || waiting.had_to_wait || waiting.count > 0 {
            Pace::urgent()
        } else {
            Pace::gentle()
        });
        waiting.current = Some(Arc::clone(&pace));
        pace
    }

    /// The save that began last has ended.
    pub(crate) fn end(&self) {
        self.0.lock().current = None;
    }
}

/// See [`Urgency::wait_guard`].
pub(crate) struct WaitGuard<'a>(&'a Urgency);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.0.lock();
        waiting.count -= 1;
        if waiting.count == 0 {
            waiting.since = None;
        }
    }
}

/// Whether one save gives way.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    is_urgent: bool,
    /// What takes over when the save becomes urgent.
    queues: Vec<Arc<dyn TakeOver>>,
}

impl Pace {
    /// Of a save that the caller is blocked on.
    pub(crate) fn urgent() -> Self {
        Self::new(true)
    }

    /// Of a save that gives way.
    pub(crate) fn gentle() -> Self {
        Self::new(false)
    }

    fn new(is_urgent: bool) -> Self {
        Self { begun: Instant::now(), inner: Mutex::new(Inner { is_urgent, queues: Vec::new() }) }
    }

    /// The save does not give way any longer.
    pub(crate) fn hurry(&self) {
        let mut inner = self.inner.lock();
        inner.is_urgent = true;
        inner.queues.drain(..).for_each(|queue| queue.take_over());
    }

    /// Lets a queue's second thread take over when the save is urgent.
    pub(crate) fn add(&self, queue: Arc<dyn TakeOver>) {
        let mut inner = self.inner.lock();
        match inner.is_urgent {
            true => queue.take_over(),
            false => inner.queues.push(queue),
        }
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.inner.lock().is_urgent
    }

    /// When a save of so many bytes has given way for long enough.
    pub(crate) fn end_of_patience(&self, bytes: u64) -> Instant {
        let patience = PATIENCE_PER_MIB.saturating_mul(u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
        let patience = patience.max(SHORTEST_PATIENCE);
        // A time that the clock cannot express is not reached.
        self.begun.checked_add(patience).unwrap_or(self.begun + Duration::from_secs(1 << 30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_held_up_while_it_waits_or_finds_no_room() {
        let urgency = Urgency::default();
        let now = Duration::ZERO;
        assert!(!urgency.holds_up_for(now));
        let waits = urgency.wait_guard();
        assert!(urgency.holds_up_for(now) && !urgency.holds_up_for(Duration::from_hours(1)));
        urgency.found_room();
        assert!(urgency.holds_up_for(now), "another thread waits");
        drop(waits);
        assert!(!urgency.holds_up_for(now));
        urgency.found_no_room();
        urgency.new_state();
        assert!(urgency.holds_up_for(now), "the next one may find none either");
        urgency.found_room();
        assert!(!urgency.holds_up_for(now));
    }

    #[test]
    fn a_save_is_urgent_when_it_is_waited_for_and_so_is_the_next_until_a_state_had_not_to_wait() {
        let urgency = Urgency::default();
        let pace = urgency.begin(false);
        assert!(!pace.is_urgent());
        let waits = urgency.wait_guard();
        assert!(pace.is_urgent() && urgency.is_waited_for());
        urgency.end();
        drop(waits);
        assert!(!urgency.is_waited_for());
        assert!(urgency.begin(false).is_urgent(), "the loop had to wait");
        urgency.new_state();
        assert!(!urgency.begin(false).is_urgent());
        assert!(urgency.begin(true).is_urgent());
        urgency.stay_urgent();
        assert!(urgency.begin(false).is_urgent() && urgency.is_waited_for());
    }
}
