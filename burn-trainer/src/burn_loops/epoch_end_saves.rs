//! Saving at the ends of epochs in a loop that is not the trainer's, behind burn's checkpointing hooks.
//!
//! ```text
//! burn, after an epoch's validation:  checkpointing()  the strategies decide, paths are reserved
//!                                     save(model)   \
//!                                     save(optimizer)  each on a thread of burn's; the last one hands the state
//!                                     save(scheduler) /  to the writer's thread
//! ```
//!
//! burn calls the hooks on the main worker only. One mutex guards the state. No thread waits for burn's
//! metrics while it holds the mutex, since the metrics' thread takes it once, to start saving.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::store::ModuleRecord;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use burn::train::{Interrupter, LearnerModel, SupervisedTraining};
use burn_ckpt::plumbing::SaveRequest;
use burn_ckpt::{Section, chain};
use parking_lot::{Mutex, MutexGuard};

use crate::dataloader::EpochTracker;
use crate::error::{Error, Result};
use crate::learner_state::record_capture::{CapturedParts, CapturingCheckpointer, section_of};
use crate::learner_state::restore::LearnerRecords;
use crate::metrics::{RunMetrics, StepOfBatch, is_of_validation};
use crate::optimizer::state_names;
use crate::process::console::warn;
use crate::process::progress::figures::span;
use crate::process::signals::StopSignal;
use crate::run::launch::PreparedRun;
use crate::saving::run_saves::RunSaves;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{DataLengths, Position, TrainerState};
use crate::state::run_clock::RunClock;
use crate::state::training_data::TrainingData;
use crate::stopping::save_from_outside::{SaveFromOutside, SavedFromOutside};
use crate::training_loop::loop_end::Outcome;

/// How often the end of training looks for the last records.
const POLL: Duration = Duration::from_millis(5);

/// The saves of one call of `fit_with`. Clones share them.
#[derive(Clone)]
pub(crate) struct EpochEndSaves {
    progress: Arc<BurnLoopProgress>,
    state: Arc<Mutex<SaveState>>,
    /// burn's hooks have clones while burn can call them.
    in_use: Arc<()>,
}

/// How far the loop is, as metrics and loaders show it.
struct BurnLoopProgress {
    metrics: RunMetrics,
    tracker: EpochTracker,
    valid_tracker: EpochTracker,
    interrupter: Interrupter,
    clock: RunClock,
    seed: u64,
    /// What the loaders of `Trainer::training` have.
    data: DataLengths,
    /// Optimizer steps before this call.
    steps_before: u64,
    max_epochs: usize,
    /// Whether all epochs were done before this call.
    finished_before: bool,
    /// How long the end may take after a failure or a signal.
    end_limit: Duration,
}

struct SaveState {
    saves: RunSaves,
    /// Saves whose records burn has not given yet, by burn's number of the epoch.
    pending: BTreeMap<usize, PendingSave>,
    position: Position,
    /// The step of the newest state that was given to a strategy's file.
    saved_step: Option<u64>,
    error: Option<Error>,
}

#[derive(Default)]
struct PendingSave {
    requests: Vec<SaveRequest>,
    parts: CapturedParts,
}

impl EpochEndSaves {
    pub(crate) fn new(
        prepared: &PreparedRun,
        interrupter: Interrupter,
        saves: RunSaves,
        data: &TrainingData,
    ) -> Self {
        let previous = prepared.resume.as_ref().map(|resume| &resume.state);
        let position = previous.map_or(Position::default(), |state| state.position);
        let progress = BurnLoopProgress {
            metrics: prepared.metrics.clone(),
            tracker: data.train.tracker.clone(),
            valid_tracker: data.valid.tracker.clone(),
            interrupter,
            clock: RunClock::start(previous),
            seed: prepared.config.seed,
            data: data.lengths(),
            steps_before: position.global_step,
            max_epochs: prepared.config.max_epochs,
            finished_before: prepared.completed() >= prepared.config.max_epochs as u64,
            end_limit: saves.exception_timeout(),
        };
        let saved_step = previous.map(|state| state.position.global_step);
        let state = SaveState { saves, pending: BTreeMap::new(), position, saved_step, error: None };
        Self { progress: Arc::new(progress), state: Arc::new(Mutex::new(state)), in_use: Arc::new(()) }
    }

    /// The function that starts saving. It is called once the metrics are registered.
    pub(crate) fn opener(&self) -> impl FnOnce() + Send + 'static {
        let (progress, state) = (Arc::clone(&self.progress), Arc::clone(&self.state));
        move || state.lock().open(&progress)
    }

    /// Gives the steps of training batches: each device has taken one in a step.
    pub(crate) fn step_of_batch(&self, devices: usize) -> StepOfBatch {
        let (tracker, steps_before) = (self.progress.tracker.clone(), self.progress.steps_before);
        let devices = devices.max(1) as u64;
        Box::new(move |epoch, batch| {
            let of_epochs = epoch.checked_sub(1).map_or(0, |before| tracker.rounds_until(before));
            steps_before.saturating_add(of_epochs).saturating_add(batch.div_ceil(devices))
        })
    }

    /// Puts burn's hooks into a training. burn begins with `records`.
    pub(crate) fn register<M: LearnerModel>(
        &self,
        training: SupervisedTraining<M>,
        records: Option<LearnerRecords>,
    ) -> SupervisedTraining<M> {
        let (model, optimizer, scheduler) = match records {
            Some(records) => (Some(records.model), Some(records.optimizer), Some(records.scheduler)),
            None => (None, None, None),
        };
        let saves = self.clone();
        let model_checkpointer = CapturingCheckpointer::new(move |epoch, record: ModuleRecord| {
            saves.add_part(epoch, Section::MODEL, section_of(record)?);
            Ok(())
        });
        let saves = self.clone();
        let optimizer_checkpointer = CapturingCheckpointer::new(move |epoch, record| {
            saves.add_part(epoch, Section::OPTIMIZER, state_names::by_path(section_of(record)?));
            Ok(())
        });
        let saves = self.clone();
        let scheduler_checkpointer = CapturingCheckpointer::new(move |epoch, record| {
            saves.add_part(epoch, Section::SCHEDULER, section_of(record)?);
            Ok(())
        });
        training
            .with_custom_checkpointers(
                model_checkpointer.restoring(model),
                optimizer_checkpointer.restoring(optimizer),
                scheduler_checkpointer.restoring(scheduler),
            )
            .with_checkpointing_strategy(BurnHook { saves: self.clone() })
    }

    /// An epoch (burn's number) is trained and validated. Returns whether its state is saved.
    fn end_epoch(&self, epoch: usize, store: &EventStoreClient) -> bool {
        let progress = &*self.progress;
        RunMetrics::await_updates(store);
        // A program's loop may not have called the hook after every epoch.
        for done in progress.metrics.history.epochs() + 1..=epoch {
            progress.metrics.close_validated_epoch(progress.end_of(done).in_log(), store);
        }
        let mut state = self.state.lock();
        state.open(progress);
        state.position = progress.position_after(epoch);
        match state.prepare(progress, epoch) {
            Ok(is_saved) => is_saved,
            Err(error) => {
                state.fail(progress, error);
                false
            }
        }
    }

    /// burn has given a part of an epoch's state.
    fn add_part(&self, epoch: usize, part: &'static str, section: Section) {
        let mut state = self.state.lock();
        let Some(pending) = state.pending.get(&epoch) else { return };
        if !pending.parts.add(part, section) {
            return;
        }
        let requests = state.pending.remove(&epoch).map_or(Vec::new(), |pending| pending.requests);
        let mut deadline = state.saves.deadline(&self.progress.interrupter);
        let (saver, is_last) = (state.saves.saver(), epoch >= self.progress.max_epochs);
        let handed_over = saver.map_or(Ok(()), |saver| saver.hand_over(requests, is_last, &mut deadline));
        if let Err(error) = handed_over {
            state.fail(&self.progress, error);
        }
    }

    /// Waits for the writer, after a failure or a stop by a signal for a limited time, and says what training
    /// came to.
    pub(crate) fn end(&self, failed: bool) -> Outcome {
        self.end_within(failed, self.progress.end_limit)
    }

    fn end_within(&self, failed: bool, limit: Duration) -> Outcome {
        let progress = &*self.progress;
        let deadline = Instant::now().checked_add(limit);
        let is_limited = failed || StopSignal::of(&progress.interrupter).is_some();
        let mut outcome = Outcome {
            seconds: progress.clock.seconds(),
            steps: progress.steps_until(u64::MAX),
            finished_before: progress.finished_before,
            ..Outcome::default()
        };
        let Some(mut state) = self.lock_until(deadline.filter(|_| is_limited)) else {
            log::error!("a save did not end in {}", span(limit.as_secs_f64()));
            outcome.saves.unfinished = true;
            return outcome;
        };
        if !failed {
            // A run that had nothing left to do also reports its checkpoints, and which names are wrong.
            state.open(progress);
        }
        outcome.epochs = state.position.epochs();
        outcome.saved_step = state.saved_step;
        outcome.error = state.error.take();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let is_limited = is_limited || outcome.error.is_some();
        (outcome.saves, outcome.checkpoints) = state.saves.finish(left.filter(|_| is_limited));
        outcome
    }

    /// The state, once burn has given all records. `None` when the mutex is not free by the deadline.
    fn lock_until(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, SaveState>> {
        let Some(deadline) = deadline else { return Some(self.state.lock()) };
        loop {
            let is_late = Instant::now() >= deadline;
            match self.state.try_lock() {
                // When a worker has failed, the main worker may still save.
                Some(state) if is_late || state.pending.is_empty() || !self.is_in_use() => {
                    return Some(state);
                }
                None if is_late => return None,
                _ => std::thread::sleep(POLL),
            }
        }
    }

    /// Whether burn can still call a hook.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.in_use) > 1
    }
}

impl SaveFromOutside for EpochEndSaves {
    /// Nothing shows whether burn's loop computes or waits.
    fn is_busy(&self) -> bool {
        true
    }

    fn save(&self, reason: &str, limit: Duration) -> SavedFromOutside {
        let Outcome { saves, steps, .. } = self.end_within(true, limit);
        if let Some(ended) = TrainingEvent::Interrupted(reason).ended() {
            self.progress.metrics.log.note_end(&ended, None, steps, saves.newest_timestamp);
            self.progress.metrics.log.end();
        }
        match saves.unfinished {
            true => SavedFromOutside::not_within(limit),
            false => SavedFromOutside::LastEpoch,
        }
    }
}

impl BurnLoopProgress {
    fn position_after(&self, number: usize) -> Position {
        let epoch = number.saturating_sub(1) as u64;
        let batches = self.tracker.of_epoch(epoch).batches;
        if batches == 0 && !self.tracker.is_empty(epoch) {
            let message = format!(
                "epoch {number} was trained with another loader than that of Trainer::training: its steps are not \
                 counted, and after a resume its data is not in the order of its epoch"
            );
            warn(&message);
        }
        let position = Position { epoch_complete: true, ..self.end_of(number) };
        // burn's loops validate at the end of each epoch.
        position.validated(self.clock.seconds())
    }

    /// The end of an epoch (burn's number), before its validation.
    fn end_of(&self, epoch: usize) -> Position {
        let epoch = epoch.saturating_sub(1) as u64;
        let batches = self.tracker.of_epoch(epoch).batches;
        Position { trained: true, batches, ..Position::at_start(epoch, self.steps_until(epoch)) }
    }

    /// Checks that an epoch's data had batches.
    fn check_data(&self, epoch: u64, saves: &RunSaves) -> Result<()> {
        let reason = format!("its loader's iterator has ended at once in epoch {}", epoch + 1);
        if self.tracker.is_empty(epoch) {
            return Err(Error::no_batch("training", reason));
        }
        if self.valid_tracker.is_empty(epoch) {
            saves.check_validated(is_of_validation, &reason)
        } else {
            Ok(())
        }
    }

    fn steps_until(&self, epoch: u64) -> u64 {
        self.steps_before + self.tracker.rounds_until(epoch)
    }
}

impl SaveState {
    fn open(&mut self, progress: &BurnLoopProgress) {
        if let Err(error) = self.saves.open(&progress.metrics.table) {
            self.fail(progress, error);
        }
    }

    /// Collects the strategies' decisions, and reserves paths. Returns whether a strategy saves.
    fn prepare(&mut self, progress: &BurnLoopProgress, epoch: usize) -> Result<bool> {
        let metrics = progress.metrics.values();
        let latest = || self.position.own_metrics(metrics.clone());
        progress.check_data(epoch.saturating_sub(1) as u64, &self.saves)?;
        self.saves.check_logged(|_| true, progress.metrics.table.lock().logged())?;
        let Some(saver) = self.saves.saver() else { return Ok(false) };
        let events = [TrainingEvent::ValidationEnd, TrainingEvent::EpochEnd, TrainingEvent::TrainingEnd];
        let events = if epoch >= progress.max_epochs { &events[..] } else { &events[..2] };
        let requested = saver.requested_saves(
            events,
            self.position,
            &RunProgress::new(self.position, &progress.clock, &latest),
        );
        let panicked = saver.take_panic();
        let is_saved = !requested.is_empty();
        if is_saved {
            self.saved_step = Some(self.position.global_step);
            let state = TrainerState {
                data: Some(progress.data),
                metrics_log: progress.metrics.log.mark_at(self.position.in_log()),
                directions: progress.metrics.directions(),
                ..TrainerState::new(self.position, progress.seed, progress.clock.seconds(), metrics.clone())
            };
            let parts = CapturedParts::default();
            let requests = saver.prepare(&requested, &state, |weights_only| {
                let at = self.position.in_log();
                parts.make_sections((!weights_only).then(|| progress.metrics.history_at(at, 0, None)))
            })?;
            self.pending.insert(epoch, PendingSave { requests, parts });
        }
        self.saves.collect()?;
        if let Some(error) = panicked {
            // What the others save is saved all the same.
            self.fail(progress, error);
        }
        Ok(is_saved)
    }

    /// Stops training. The first error counts.
    fn fail(&mut self, progress: &BurnLoopProgress, error: Error) {
        let text = chain(&error);
        log::error!("{text}");
        progress.interrupter.stop(Some(&text));
        self.error.get_or_insert(error);
    }
}

/// What burn calls.
struct BurnHook {
    saves: EpochEndSaves,
}

impl CheckpointingStrategy for BurnHook {
    fn checkpointing(&mut self, epoch: usize, store: &EventStoreClient) -> Vec<CheckpointingAction> {
        let is_saved = self.saves.end_epoch(epoch, store);
        is_saved.then_some(CheckpointingAction::Save).into_iter().collect()
    }
}
