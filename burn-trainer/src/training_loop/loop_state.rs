//! The state of one call of `fit`, in parts that each own one thing, and what concerns several of them:
//! saving.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use burn::train::LearnerModel;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::parts::burn_early_stopping::BurnEarlyStopping;
use super::parts::device_monitor::DeviceMonitor;
use super::parts::effective_batch::EffectiveBatch;
use super::parts::event_reporter::EventReporter;
use super::parts::loop_callbacks::LoopCallbacks;
use super::parts::loop_rules::LoopRules;
use super::parts::trained_learner::TrainedLearner;
use crate::error::Result;
use crate::learner_state::learning_rates::LearningRates;
use crate::metrics::{HistoryAt, MetricsOf, RunMetrics};
use crate::run_speed::RunSpeed;
use crate::saving::requested_save::RequestedSave;
use crate::saving::run_saves::RunSaves;
use crate::saving::saver::Saver;
use crate::state::end_reason::EndReason;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{EpochLengths, Position, StepChange, TrainerState};
use crate::state::run_clock::RunClock;
use crate::state::speed_meter::{Activity, SpeedMeter};
use crate::stopping::stop_control::LoopStop;

/// One call of `fit`.
pub(super) struct LoopState<'a, M: LearnerModel> {
    pub(super) learner: TrainedLearner<'a, M>,
    pub(super) burn: EventReporter<'a, M>,
    pub(super) early_stopping: BurnEarlyStopping,
    pub(super) callbacks: LoopCallbacks<M>,
    pub(super) progress: LoopProgress,
    pub(super) rules: LoopRules,
    pub(super) metrics: RunMetrics,
    /// Shared with the thread that ends a run whose loop does not see a stop.
    pub(super) saves: Arc<Mutex<RunSaves>>,
    pub(super) stop: LoopStop,
    pub(super) monitor: DeviceMonitor,
}

/// Where in the run the loop is. Clones share the clock and the speed.
#[derive(Clone)]
pub(super) struct LoopProgress {
    /// The position of the learner's state.
    pub(super) position: Position,
    pub(super) clock: RunClock,
    pub(super) speed: SpeedMeter,
    pub(super) batch: EffectiveBatch,
    /// Where a step had another number of batches before.
    pub(super) step_change: Option<StepChange>,
    pub(super) data: EpochLengths,
    /// The position at which this call began.
    pub(super) begun: Position,
    /// Whether the run was resumed and had nothing left to train.
    pub(super) finished_before: bool,
    /// The rate that the run which saved the checkpoint would have had in its next step.
    pub(super) expected_rate: Option<f64>,
    /// Why the run has ended before its last epoch, as done.
    pub(super) ended_because: Option<EndReason>,
    /// Whether the writer was given a state that says how the run ended.
    pub(super) end_is_submitted: bool,
    /// The newest position whose state was handed to the writer, with the speed that its metadata have.
    pub(super) saved_speed: Option<(Position, RunSpeed)>,
}

impl LoopProgress {
    /// The start of a call. The position of a resumed run is restored with [`LoopState::begin`].
    pub(super) fn new(clock: RunClock, speed: SpeedMeter, batch: EffectiveBatch, data: EpochLengths) -> Self {
        let position = Position::default();
        Self {
            position,
            clock,
            speed,
            batch,
            step_change: None,
            data,
            begun: position,
            finished_before: false,
            expected_rate: None,
            ended_because: None,
            end_is_submitted: false,
            saved_speed: None,
        }
    }

    /// Notes the speed in the metadata of a state that was handed to the writer.
    fn note_saved(&mut self, state: &TrainerState) {
        self.saved_speed = state.speed.map(|speed| (self.position, speed));
    }

    /// What the run has done, and where its time went, as the metadata of its last state have it: handing
    /// that state over comes after that. Up to now where the state was not saved.
    pub(super) fn speed_at_end(&self) -> Option<RunSpeed> {
        let of_state = self.saved_speed.filter(|(saved, _)| saved.next() == self.position.next());
        of_state.map(|(_, speed)| speed).or_else(|| self.speed.totals())
    }

    /// Whether there is anything in the state that the beginning did not have.
    pub(super) fn has_moved(&self) -> bool {
        self.position.next() != self.begun.next()
    }

    /// Why the run is done. A limit that falls on the end of the last epoch has ended nothing.
    pub(super) fn end_reason(
        &self,
        early_stopping: &BurnEarlyStopping,
        rules: &LoopRules,
    ) -> Option<EndReason> {
        let reason = self.ended_because.clone().or_else(|| early_stopping.reason());
        reason.filter(|reason| !reason.is_limit() || !rules.is_last_end(self.position))
    }

    /// The trainer's part of a checkpoint.
    pub(super) fn trainer_state(
        &self,
        seed: u64,
        rates: LearningRates,
        metrics: &RunMetrics,
        ended: Option<String>,
    ) -> TrainerState {
        TrainerState {
            learning_rate: (self.position.global_step > 0).then_some(rates.last),
            next_learning_rate: rates.next,
            learning_rate_scale: rates.scale,
            batches_per_step: Some(self.batch.batches_per_step()),
            step_change: self.step_change,
            data: Some(self.data.of_epoch(self.position.epoch)),
            ended,
            speed: self.speed.totals(),
            metrics_log: metrics.log.mark_at(self.position.in_log()),
            validation_sets: metrics.sets.items(),
            directions: metrics.directions(),
            ..TrainerState::new(self.position, seed, self.clock.seconds(), metrics.whole_values())
        }
    }
}

impl<M: LearnerModel> LoopState<'_, M> {
    /// Whether a limit, or a callback, ends the run here as done.
    pub(super) fn ends_here(&mut self) -> bool {
        self.forget_early_stop();
        self.progress.ended_because = self.end_here();
        self.progress.ended_because.is_some()
    }

    /// Why a limit, or a callback, would end the run here. The last step of an epoch is validated first.
    pub(super) fn end_here(&self) -> Option<EndReason> {
        let LoopProgress { position, clock, .. } = &self.progress;
        let limits = &self.rules.limits;
        let asked = || self.callbacks.stop().filter(|_| limits.may_end_early(*position)).cloned();
        limits.reached(*position, clock.training_time()).or_else(asked)
    }

    /// Drops a callback's request to end the run, where it comes too early.
    pub(super) fn forget_early_stop(&mut self) {
        if !self.rules.limits.may_end_early(self.progress.position) {
            self.callbacks.forget_stop();
        }
    }

    /// Waits for the metrics' names, and starts saving.
    pub(super) fn open_saver(&mut self) -> Result<()> {
        self.burn.flush();
        self.metrics.table.lock().check_set_names()?;
        self.saves.lock().open(&self.metrics.table)
    }

    /// Begins, with the state that the run resumes from, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when callbacks have scaled its learning rate, and this learner's cannot be scaled.
    pub(super) fn begin(&mut self, previous: Option<&TrainerState>) -> Result<()> {
        self.learner.begin(previous.and_then(|previous| previous.learning_rate));
        if let Some(previous) = previous {
            self.check_rate_scale(previous.learning_rate_scale)?;
            self.callbacks.restore_rate_scale(previous.learning_rate_scale);
            self.callbacks.resume_stop(previous.stop_requested.clone());
            self.progress.expected_rate = previous.next_learning_rate;
            (self.progress.position, self.progress.begun) = (previous.position, previous.position);
            // Validation can be left out now.
            self.progress.position.validation_due &= self.rules.validates();
        }
        Ok(())
    }

    /// Shows the events to the strategies, saves if one of them decides so, and notes the saves that have
    /// ended.
    ///
    /// burn processes metrics on another thread, and waiting for it at every step would slow training down.
    /// So a strategy that asks for metrics waits for those of its step, and the others do not.
    ///
    /// # Errors
    ///
    /// Also when a strategy panics, after what the others save was handed over.
    pub(super) fn save(&mut self, events: &[TrainingEvent<'_>]) -> Result<()> {
        let submitted = catch_unwind(AssertUnwindSafe(|| {
            let requested = self.show_to_strategies(events);
            if requested.is_empty() {
                return Ok(());
            }
            self.call_between("on_before_save", |callback, context| callback.on_before_save(context))?;
            self.submit(&requested, events)
        }));
        let Self { learner, saves, progress, .. } = self;
        let mut saves = saves.lock();
        let collected = saves.collect();
        if let Some(took) = saves.saver().and_then(Saver::take_longest_save) {
            progress.speed.saved(took);
        }
        let panicked = saves.saver().and_then(Saver::take_panic);
        if let Some(saver) = saves.saver() {
            learner.release_before(saver.oldest_step_in_use());
        }
        drop(saves);
        submitted.unwrap_or_else(|panic| resume_unwind(panic))?;
        collected?;
        panicked.map_or(Ok(()), Err)?;
        self.call_events_since()
    }

    /// The saves that the strategies request.
    fn show_to_strategies(&mut self, events: &[TrainingEvent<'_>]) -> Vec<RequestedSave> {
        let Self { burn, progress, metrics, saves, .. } = self;
        let (reporter, panicked) = (RefCell::new(burn), Cell::new(None));
        let metrics_of_the_step = || {
            // Where burn's thread has panicked, the strategy that asks has not.
            let flushed = catch_unwind(AssertUnwindSafe(|| reporter.borrow_mut().flush()));
            panicked.set(flushed.err());
            metrics.whole_values()
        };
        let requested = match saves.lock().saver() {
            Some(saver) => requested_saves(saver, events, progress, &metrics_of_the_step),
            None => Vec::new(),
        };
        if let Some(panic) = panicked.take() {
            resume_unwind(panic);
        }
        requested
    }

    /// Hands the state to the writer.
    fn submit(&mut self, requested: &[RequestedSave], events: &[TrainingEvent<'_>]) -> Result<()> {
        let Self { learner, burn, progress, rules, metrics, saves, callbacks, early_stopping, .. } = self;
        let _saving = progress.speed.measure(Activity::Saving);
        // The checkpoint must have the metrics of its step. The lock is not waited for if burn hangs in
        // one of them.
        burn.flush();
        let mut saves = saves.lock();
        let mut deadline = saves.deadline(burn.interrupter);
        let Some(saver) = saves.saver() else { return Ok(()) };
        let ended = events.iter().find_map(TrainingEvent::ended);
        let is_last = ended.is_some();
        let callbacks = callbacks.states()?;
        let rates = learner.rates(callbacks.rate_scale());
        let mut state = progress.trainer_state(rules.seed, rates, metrics, ended);
        match events.contains(&TrainingEvent::TrainingEnd) {
            true => state.ended_because = progress.end_reason(early_stopping, rules).map(|it| it.named()),
            false => state.stop_requested = callbacks.stop(),
        }
        saver.submit(requested, &state, is_last, &mut deadline, |weights_only| {
            let history = || history_at(metrics, progress.position);
            let step = progress.position.global_step;
            learner.snapshot(weights_only, step, burn.store, history, &callbacks)
        })?;
        progress.end_is_submitted |= is_last;
        progress.note_saved(&state);
        Ok(())
    }

    /// Saves the state before a failure. Returns the paths where it will be.
    ///
    /// # Errors
    ///
    /// When a strategy or the writer fails. A device that has failed can panic here again.
    pub(super) fn save_before_failure(&mut self, message: &str) -> Result<Vec<PathBuf>> {
        let Self { learner, burn, progress, rules, metrics, saves, callbacks, .. } = self;
        let mut saves = saves.lock();
        let limit = saves.exception_timeout();
        let Some(saver) = saves.saver() else { return Ok(Vec::new()) };
        if let Some(path) = saver.saved_state_within(limit / 2, progress.position) {
            return Ok(vec![path]);
        }
        let (event, latest) = (TrainingEvent::Exception(message), || metrics.whole_values());
        let requested = requested_saves(saver, &[event], progress, &latest);
        let callbacks = callbacks.states()?;
        let rates = learner.rates(callbacks.rate_scale());
        let mut state = progress.trainer_state(rules.seed, rates, metrics, event.ended());
        state.stop_requested = callbacks.stop();
        let places = saver.submit_within(limit, &requested, &state, |weights_only| {
            let history = || history_at(metrics, progress.position);
            let step = progress.position.global_step;
            learner.snapshot(weights_only, step, burn.store, history, &callbacks)
        })?;
        if !places.is_empty() {
            progress.end_is_submitted = true;
            progress.note_saved(&state);
        }
        Ok(places)
    }

    /// Checks that those of the metrics are logged which are needed.
    pub(super) fn check_logged(&mut self, of: MetricsOf<'_>) -> Result<()> {
        if !self.needs_metric(of) {
            return Ok(());
        }
        self.burn.flush();
        let mut saves = self.saves.lock();
        let table = self.metrics.table.lock();
        let is_meant = |name: &str| table.is_of(name, of);
        let checked = saves.check_logged(is_meant, table.logged());
        // A split that was stopped may not have logged them yet.
        if !self.burn.should_stop() {
            checked?;
        }
        saves.forget_metrics(is_meant);
        Ok(())
    }

    /// Checks that a validation which is tried logs those of the metrics that are needed.
    pub(super) fn check_tried(&mut self, of: MetricsOf<'_>) -> Result<()> {
        if !self.needs_metric(of) {
            return Ok(());
        }
        self.burn.flush();
        let saves = self.saves.lock();
        let table = self.metrics.table.lock();
        let checked = saves.check_logged(|name| table.is_of(name, of), table.tried());
        if self.burn.should_stop() { Ok(()) } else { checked }
    }

    /// Whether one of the metrics is needed, and was not logged yet.
    pub(super) fn needs_metric(&self, of: MetricsOf<'_>) -> bool {
        let saves = self.saves.lock();
        let table = self.metrics.table.lock();
        saves.needs_metric(|name| table.is_of(name, of))
    }

    /// The first of the metrics that a strategy needs, and that was not logged yet.
    pub(super) fn needed_by_strategy(&self, of: MetricsOf<'_>) -> Option<String> {
        let saves = self.saves.lock();
        let table = self.metrics.table.lock();
        saves.needed_by_strategy(|name| table.is_of(name, of)).cloned()
    }

    /// Checks that nothing needs one of the metrics, of a validation that has given no batch for this reason.
    pub(super) fn check_validated(&self, of: MetricsOf<'_>, reason: &str) -> Result<()> {
        let saves = self.saves.lock();
        let table = self.metrics.table.lock();
        saves.check_validated(|name| table.is_of(name, of), reason)
    }

    /// Ends the epoch: it is trained, validated if that is due, and its metrics, which were waited for, are
    /// final.
    pub(super) fn complete_epoch(&mut self) -> Result<()> {
        self.call_between("on_epoch_end", |callback, context| callback.on_epoch_end(context))?;
        if self.progress.position.validation_due {
            self.end_validation();
        }
        let position = self.progress.position;
        self.metrics.close_epoch(position.in_log(), position.validated_step(), self.burn.store);
        self.progress.position.epoch_complete = true;
        let callbacks = self.callbacks.settle()?;
        self.learner.move_to(self.progress.position, callbacks);
        Ok(())
    }

    /// The learner's state is now that of this position. It is parked, with the states of the callbacks.
    pub(super) fn park(&mut self) -> Result<()> {
        let callbacks = self.callbacks.settle()?;
        self.learner.park(self.progress.position, callbacks);
        Ok(())
    }
}

/// The history of the run at a position.
fn history_at(metrics: &RunMetrics, position: Position) -> HistoryAt {
    metrics.history_at(position.in_log(), position.logged(), position.validated_step())
}

fn requested_saves(
    saver: &mut Saver,
    events: &[TrainingEvent<'_>],
    progress: &LoopProgress,
    read_metrics: &dyn Fn() -> IndexMap<String, f64>,
) -> Vec<RequestedSave> {
    let position = progress.position;
    let own_metrics = || position.own_metrics(read_metrics());
    saver.requested_saves(events, position, &RunProgress::new(position, &progress.clock, &own_metrics))
}
