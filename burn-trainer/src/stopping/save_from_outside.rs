//! Saves the parked state on the thread that ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::LearnerModel;
use burn::train::metric::store::EventStoreClient;
use burn_ckpt::chain;
use burn_ckpt::plumbing::{ReadTiming, panic_message};
use parking_lot::Mutex;

use super::parked_state::{ParkedState, ParkingSlot};
use crate::error::Result;
use crate::learner_state::learning_rates::LearningRates;
use crate::learner_state::snapshot::take_snapshot_of;
use crate::metrics::{METRICS_LIMIT, RunMetrics, burn_epoch};
use crate::process::progress::figures::span;
use crate::saving::run_saves::RunSaves;
use crate::state::end_reason::{EndReason, RunOutcome, StopRequest};
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{Position, TrainerState};
use crate::state::run_clock::RunClock;

/// How often the loop is looked at while it is in an update.
const POLL: Duration = Duration::from_millis(5);

/// A training that can be saved while its loop is stuck.
pub(crate) trait SaveFromOutside: Send + Sync {
    /// Whether the loop computes or saves, and will see a stop when it is done.
    fn is_busy(&self) -> bool;

    /// Saves the state of the last update within a time, and ends the saves of the run.
    fn save(&self, reason: &str, limit: Duration) -> SavedFromOutside;
}

/// What became of the state.
pub(crate) enum SavedFromOutside {
    /// There was no update in this process.
    NoUpdate,
    /// The loop has saved it, and what follows does not end.
    ByTheLoop,
    /// The last epoch that was saved stands: the loop is not the trainer's.
    LastEpoch,
    /// The state of this step is on disk.
    Step(u64),
    /// The run was done with this step, and its last state is on disk.
    Done(u64),
    /// It is not, for this reason.
    Failed(String),
}

impl SavedFromOutside {
    pub(crate) fn not_within(limit: Duration) -> Self {
        Self::Failed(format!("not within {}", span(limit.as_secs_f64())))
    }
}

/// burn's event store, which can outlive the loop here. Its destructor panics when its thread has panicked,
/// which was reported.
pub(crate) struct KeptStore(Option<Arc<EventStoreClient>>);

impl KeptStore {
    pub(crate) fn new(store: &Arc<EventStoreClient>) -> Self {
        Self(Some(Arc::clone(store)))
    }
}

impl Drop for KeptStore {
    fn drop(&mut self) {
        let store = self.0.take();
        // What the panic says stands in the run's error already.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
    }
}

/// The trainer's own loop.
pub(crate) struct LoopFromOutside<M: LearnerModel> {
    pub(crate) slot: ParkingSlot<M>,
    pub(crate) saves: Arc<Mutex<RunSaves>>,
    pub(crate) metrics: RunMetrics,
    pub(crate) store: KeptStore,
    pub(crate) clock: RunClock,
    pub(crate) trainer_state: StateOfLoop,
    pub(crate) end_at: EndOfLoop,
    pub(crate) reading: ReadTiming,
}

/// The trainer's part of a checkpoint of the loop at a position, and how the run has ended, if it has.
pub(crate) type StateOfLoop =
    Box<dyn Fn(Position, LearningRates, Option<String>) -> TrainerState + Send + Sync>;

/// The end of the run at a position where callbacks have this request: what the loop would have said next.
/// `None` where the run continues.
pub(crate) type EndOfLoop = Box<dyn Fn(Position, Option<StopRequest>) -> Option<RunOutcome> + Send + Sync>;

impl<M: LearnerModel> SaveFromOutside for LoopFromOutside<M> {
    fn is_busy(&self) -> bool {
        self.slot.is_computing() || self.saves.is_locked()
    }

    fn save(&self, reason: &str, limit: Duration) -> SavedFromOutside {
        let begun = Instant::now();
        let left = || limit.saturating_sub(begun.elapsed());
        let parked = self.parked(limit / 2);
        let Some(mut saves) = self.saves.try_lock_for(left()) else {
            return SavedFromOutside::Failed("a strategy or an older save does not end".to_owned());
        };
        let step = parked.as_ref().map(|parked| parked.position.global_step);
        let is_done = parked.as_ref().is_some_and(|parked| self.end_of(parked).is_some());
        // A device that hangs or has failed can do so here again.
        let submitted = catch_unwind(AssertUnwindSafe(|| match parked {
            Some(parked) => self.submit(parked, &mut saves, reason, left()),
            None => Ok(()),
        }));
        let failure = match submitted {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(panic) => Some(panic_message(&*panic)),
        };
        let (summary, _) = saves.finish(Some(left()));
        match (failure, step) {
            (Some(reason), _) => SavedFromOutside::Failed(reason),
            (None, _) if summary.unfinished => SavedFromOutside::not_within(limit),
            (None, Some(_)) if !summary.newest_is_durable => {
                SavedFromOutside::Failed("its save has failed".to_owned())
            }
            (None, Some(step)) if is_done => SavedFromOutside::Done(step),
            (None, Some(step)) => SavedFromOutside::Step(step),
            (None, None) if !self.slot.has_updated() => SavedFromOutside::NoUpdate,
            (None, None) => SavedFromOutside::Failed("the optimizer's step does not end".to_owned()),
        }
    }
}

impl<M: LearnerModel> LoopFromOutside<M> {
    /// The parked state. While an update is in progress there is none.
    fn parked(&self, limit: Duration) -> Option<ParkedState<M>> {
        let begun = Instant::now();
        loop {
            let parked = self.slot.take();
            if parked.is_some() || !self.slot.has_updated() || begun.elapsed() >= limit {
                return parked;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The end of the run with a parked state. `None` where it continues.
    fn end_of(&self, parked: &ParkedState<M>) -> Option<RunOutcome> {
        (self.end_at)(parked.position, parked.callbacks.stop())
    }

    /// Hands the state to the writer, as a stop that the loop sees would be saved, or the end of the run.
    fn submit(
        &self,
        parked: ParkedState<M>,
        saves: &mut RunSaves,
        reason: &str,
        limit: Duration,
    ) -> Result<()> {
        let end = self.end_of(&parked);
        let ParkedState { learner, valid, position, learning_rate, callbacks } = parked;
        let rates = LearningRates::of(&learner, learning_rate, callbacks.rate_scale());
        let (Some(saver), Some(store)) = (saves.saver(), &self.store.0) else { return Ok(()) };
        let logged = position.logged();
        self.metrics.history.await_count(burn_epoch(position.epoch), logged, METRICS_LIMIT.min(limit / 4));
        let values = self.metrics.whole_values();
        let latest = || position.own_metrics(values.clone());
        let progress = RunProgress::new(position, &self.clock, &latest);
        let event = match end {
            Some(_) => TrainingEvent::TrainingEnd,
            None => TrainingEvent::Interrupted(reason),
        };
        let because = end.as_ref().and_then(RunOutcome::end_reason).map(EndReason::named);
        let requested = saver.requested_from_outside(event, position, &progress);
        if let Some(ended) = event.ended().filter(|_| requested.is_empty()) {
            // The state was saved already, in a checkpoint that may not say how the run ended, or no
            // strategy saves it.
            let (step, saved) = (position.global_step, saver.newest_timestamp());
            self.metrics.log.note_end(&ended, because.as_deref(), step, saved);
            self.metrics.log.end();
        }
        // With the values that the strategies were shown: burn's thread may log others meanwhile.
        let state = (self.trainer_state)(position, rates, event.ended());
        let stop_requested = callbacks.stop().filter(|_| end.is_none());
        let state = TrainerState { metrics: values, ended_because: because, stop_requested, ..state };
        saver.submit_within(limit, &requested, &state, |weights_only| {
            let model = valid.clone().unwrap_or_else(|| learner.model().valid());
            let validated = position.validated_step();
            let history =
                (!weights_only).then(|| self.metrics.history_at(position.in_log(), logged, validated));
            // The process ends soon: with copies that are never dropped, no thread releases what another one
            // reads.
            let keep = |model: &M, learner: Option<&_>| {
                std::mem::forget((model.clone(), learner.cloned(), callbacks.clone()));
            };
            take_snapshot_of(model, &learner, store, history, keep, self.reading, &callbacks)
        })?;
        std::mem::forget(learner);
        Ok(())
    }
}
