//! Saving at the ends of epochs in a loop that is not the trainer's, behind burn's checkpointing hooks.
//!
//! ```text
//! burn, after an epoch's validation:  checkpointing()  the strategies are asked, places are reserved
//!                                     save(model)   \
//!                                     save(optimizer)  each on a thread of burn's; the last one hands the state
//!                                     save(scheduler) /  to the writer's thread
//! ```
//!
//! burn calls them on the main worker only. One mutex guards it all. Nobody waits for burn's metrics while holding it,
//! as their thread takes it once, to start saving.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use burn::store::ModuleRecord;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use burn::train::{Interrupter, LearnerModel, SupervisedTraining};
use burn_ckpt::Section;
use burn_ckpt::plumbing::SaveRequest;

use crate::config::FailedSaves;
use crate::dataloader::Passes;
use crate::error::{Error, Result};
use crate::metrics::{EpochValues, SharedHistory, SharedMetrics, await_updates};
use crate::optimizer::state_names;
use crate::process::console::warn;
use crate::process::signals::{Patience, StopSignal};
use crate::run::prepare::Prepared;
use crate::run::resume::Records;
use crate::saving::record_capture::{Catch, Caught, section};
use crate::saving::saver::Saver;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{Position, TrainerState};
use crate::training_loop::loop_state::{OpenSaver, Outcome};

const POLL: Duration = Duration::from_millis(5);

/// The saves of one call of `fit_with`.
#[derive(Clone)]
pub(crate) struct EpochSaves {
    run: Arc<RunSoFar>,
    state: Arc<Mutex<State>>,
}

/// What saving needs to know of the run.
struct RunSoFar {
    metrics: SharedMetrics,
    history: SharedHistory,
    passes: Passes,
    interrupter: Interrupter,
    previous: Option<TrainerState>,
    seed: u64,
    failed_saves: FailedSaves,
    exception_timeout: Duration,
    started: Instant,
    /// Epochs that were done before this call, and that there are.
    completed: u64,
    max_epochs: u64,
    /// burn's hooks have one too, as long as it may call them.
    in_use: Arc<()>,
}

struct State {
    open_saver: Option<OpenSaver>,
    saver: Option<Saver>,
    /// Metrics that a strategy ranks by.
    watched: Vec<String>,
    /// Saves whose records burn has not given yet, by burn's number of the epoch.
    pending: BTreeMap<usize, Pending>,
    position: Position,
    error: Option<Error>,
}

#[derive(Default)]
struct Pending {
    saves: Vec<SaveRequest>,
    caught: Caught,
}

impl EpochSaves {
    pub(crate) fn new(
        prepared: &Prepared,
        passes: Passes,
        interrupter: Interrupter,
        open_saver: OpenSaver,
    ) -> Self {
        let previous = prepared.resume.as_ref().map(|resume| resume.state.clone());
        let state = State {
            open_saver: Some(open_saver),
            saver: None,
            watched: Vec::new(),
            pending: BTreeMap::new(),
            position: previous.as_ref().map_or(Position::default(), |state| state.position),
            error: None,
        };
        let run = RunSoFar {
            metrics: prepared.metrics.clone(),
            history: prepared.history.clone(),
            passes,
            interrupter,
            previous,
            seed: prepared.config.seed,
            failed_saves: prepared.config.failed_saves,
            exception_timeout: prepared.exception_timeout,
            started: Instant::now(),
            completed: prepared.completed(),
            max_epochs: prepared.config.max_epochs as u64,
            in_use: Arc::new(()),
        };
        Self { run: Arc::new(run), state: Arc::new(Mutex::new(state)) }
    }

    /// Starts saving, once the metrics are registered.
    pub(crate) fn opener(&self) -> impl FnOnce() + Send + 'static {
        let (run, state) = (Arc::clone(&self.run), Arc::clone(&self.state));
        move || lock(&state).open(&run)
    }

    /// Puts burn's hooks into a training. `records` is the state that burn is to begin with.
    pub(crate) fn register<M: LearnerModel>(
        &self,
        training: SupervisedTraining<M>,
        records: Option<Records>,
    ) -> SupervisedTraining<M> {
        let (model, optimizer, scheduler) = records
            .map(|records| (records.model, records.optimizer, records.scheduler))
            .map_or((None, None, None), |(model, optimizer, scheduler)| {
                (Some(model), Some(optimizer), Some(scheduler))
            });
        let hook = || Hook { saves: self.clone(), _in_use: Arc::clone(&self.run.in_use) };
        let hooks = (hook(), hook(), hook());
        let catch_model = Catch::new(move |epoch, record: ModuleRecord| {
            hooks.0.saves.caught(epoch, Section::MODEL, section(record)?);
            Ok(())
        });
        let catch_optimizer = Catch::new(move |epoch, record| {
            hooks.1.saves.caught(epoch, Section::OPTIMIZER, state_names::by_path(section(record)?));
            Ok(())
        });
        let catch_scheduler = Catch::new(move |epoch, record| {
            hooks.2.saves.caught(epoch, Section::SCHEDULER, section(record)?);
            Ok(())
        });
        training
            .with_custom_checkpointers(
                catch_model.restoring(model),
                catch_optimizer.restoring(optimizer),
                catch_scheduler.restoring(scheduler),
            )
            .with_checkpointing_strategy(hook())
    }

    /// An epoch (burn's number) has been trained and validated. Returns whether its state is wanted.
    fn epoch_ended(&self, epoch: usize, store: &EventStoreClient) -> bool {
        let run = &*self.run;
        await_updates(store);
        // A loop of the user's may not have called for every epoch.
        for done in run.history.epochs() + 1..=epoch {
            run.history.close_epoch(EpochValues::of(done, &run.metrics, store));
        }
        let mut state = lock(&self.state);
        state.open(run);
        state.position = run.position_after(epoch);
        match state.prepare(run, epoch) {
            Ok(wanted) => wanted,
            Err(error) => {
                state.fail(run, error);
                false
            }
        }
    }

    /// burn has given a part of an epoch's state.
    fn caught(&self, epoch: usize, part: &'static str, section: Section) {
        let mut state = lock(&self.state);
        let Some(pending) = state.pending.get(&epoch) else { return };
        if !pending.caught.add(part, section) {
            return;
        }
        let saves = state.pending.remove(&epoch).map_or(Vec::new(), |pending| pending.saves);
        let mut patience = Patience::new(self.run.interrupter.clone(), self.run.exception_timeout);
        let saver = state.saver.as_mut();
        let handed_over = saver.map_or(Ok(()), |saver| saver.hand_over(saves, false, &mut patience));
        if let Err(error) = handed_over {
            state.fail(&self.run, error);
        }
    }

    /// Waits for the writer, after a failure or a stop by a signal for a limited time, and says what training came to.
    pub(crate) fn end(&self, failed: bool) -> Outcome {
        let run = &*self.run;
        let limit = run.exception_timeout;
        let deadline = Instant::now().checked_add(limit);
        let is_limited = failed || StopSignal::of(&run.interrupter).is_some();
        let mut outcome = Outcome {
            seconds: run.seconds(),
            steps: run.steps_until(u64::MAX),
            finished_before: run.completed >= run.max_epochs,
            ..Outcome::default()
        };
        let Some(mut state) = self.lock_until(deadline.filter(|_| is_limited)) else {
            log::error!("a save did not end in {limit:?}");
            outcome.saves.unfinished = true;
            return outcome;
        };
        if !failed {
            // Also a run that had nothing left to do says what it has, and which names are wrong.
            state.open(run);
        }
        outcome.epochs = state.position.epochs();
        outcome.error = state.error.take();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let is_limited = is_limited || outcome.error.is_some();
        if let Some(saver) = state.saver.take() {
            (outcome.saves, outcome.foremost) = saver.finish(left.filter(|_| is_limited));
        }
        outcome
    }

    /// The state, once burn has given everything it is going to give.
    fn lock_until(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, State>> {
        let Some(deadline) = deadline else { return Some(lock(&self.state)) };
        loop {
            let is_late = Instant::now() >= deadline;
            match self.state.try_lock() {
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                // Another worker than the main one may have failed, and the main one be saving.
                Ok(state) if is_late || state.pending.is_empty() || !self.run.is_in_use() => {
                    return Some(state);
                }
                Err(TryLockError::WouldBlock) if is_late => return None,
                _ => std::thread::sleep(POLL),
            }
        }
    }
}

impl RunSoFar {
    fn position_after(&self, epoch: usize) -> Position {
        let epoch = epoch.saturating_sub(1) as u64;
        let given = self.passes.of(epoch);
        if given.batches == 0 {
            let message = format!(
                "epoch {epoch} was trained with another loader than that of Trainer::training: its steps are not \
                 counted, and after a resume its data is not in the order of its epoch"
            );
            warn(&message);
        }
        Position {
            epoch,
            epoch_complete: true,
            trained: true,
            batches: given.batches,
            items: 0,
            global_step: self.steps_until(epoch),
        }
    }

    fn steps_until(&self, epoch: u64) -> u64 {
        let before = self.previous.as_ref().map_or(0, |state| state.position.global_step);
        before + self.passes.rounds_until(epoch)
    }

    fn seconds(&self) -> f64 {
        TrainerState::seconds_since(self.previous.as_ref(), self.started)
    }

    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.in_use) > 1
    }
}

impl State {
    fn open(&mut self, run: &RunSoFar) {
        let Some(open_saver) = self.open_saver.take() else { return };
        match open_saver(&run.metrics) {
            Ok((saver, watched)) => (self.saver, self.watched) = (Some(saver), watched),
            Err(error) => self.fail(run, error),
        }
    }

    /// Asks the strategies, and reserves places for what they want.
    fn prepare(&mut self, run: &RunSoFar, epoch: usize) -> Result<bool> {
        let Some(saver) = &mut self.saver else { return Ok(false) };
        let metrics = run.metrics.lock().values().clone();
        if let Some(name) = self.watched.iter().find(|name| !metrics.contains_key(*name)) {
            let logged = metrics.into_keys().collect();
            return Err(Error::MetricNotLogged { name: name.clone(), logged });
        }
        let facts = RunProgress {
            epoch: self.position.epoch,
            step: self.position.global_step,
            elapsed: run.started.elapsed(),
            metrics: &metrics,
        };
        let wanted = saver.wanted(&[TrainingEvent::ValidationEnd, TrainingEvent::EpochEnd], &facts);
        let pending = Pending::default();
        if !wanted.is_empty() {
            let state = TrainerState::new(self.position, run.seed, run.seconds(), metrics.clone());
            let saves = saver.prepare(&wanted, &state, |weights_only| {
                let history = (!weights_only).then(|| run.history.at(0));
                pending.caught.make_sections(history)
            })?;
            self.pending.insert(epoch, Pending { saves, ..pending });
        }
        saver.collect(run.failed_saves)?;
        Ok(!wanted.is_empty())
    }

    /// Stops training. The first error is the one that counts.
    fn fail(&mut self, run: &RunSoFar, error: Error) {
        log::error!("{error}");
        run.interrupter.stop(Some(&error.to_string()));
        self.error.get_or_insert(error);
    }
}

/// What burn calls.
struct Hook {
    saves: EpochSaves,
    _in_use: Arc<()>,
}

impl CheckpointingStrategy for Hook {
    fn checkpointing(&mut self, epoch: usize, store: &EventStoreClient) -> Vec<CheckpointingAction> {
        let wanted = self.saves.epoch_ended(epoch, store);
        wanted.then_some(CheckpointingAction::Save).into_iter().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
