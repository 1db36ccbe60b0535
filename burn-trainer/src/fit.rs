//! The training loop: burn's single-device loop with events at which checkpoints are saved.
//!
//! It is a custom strategy of burn's `SupervisedTraining`, so that metrics, renderers, loggers, early stopping,
//! the interrupter, gradient accumulation and schedulers are burn's own. The order of what happens in a step is
//! that of burn's `SingleDeviceTrainingStrategy`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress;
use burn::optim::GradientsAccumulator;
use burn::tensor::Device;
use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use burn::train::{
    EventProcessorError, EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    LearnerModel, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, TrainingItem, ValidLoader,
};
use burn_ckpt::{Held, MakeSections, panic_message};
use indexmap::IndexMap;

use crate::error::{Error, Result};
use crate::event::{Event, Facts};
use crate::metrics::SharedMetrics;
use crate::saving::{Moment, SaveAccount, Saver};
use crate::snapshot;
use crate::state::{STATE_VERSION, TrainerState};

/// Makes the [`Saver`] once the metrics' names are known.
pub(crate) type OpenSaver = Box<dyn FnOnce(&SharedMetrics) -> Result<(Saver, Vec<String>)> + Send>;

/// What the loop needs besides what burn gives it.
pub(crate) struct Plan {
    pub(crate) max_epochs: u64,
    pub(crate) seed: u64,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) stop_on_failed_save: bool,
    pub(crate) exception_timeout: Duration,
    pub(crate) metrics: SharedMetrics,
    pub(crate) resume: Option<TrainerState>,
    pub(crate) open_saver: OpenSaver,
}

/// How training ended.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) error: Option<Error>,
    pub(crate) epochs: u64,
    pub(crate) steps: u64,
    pub(crate) seconds: f64,
    pub(crate) saves: SaveAccount,
    pub(crate) foremost: IndexMap<String, Held>,
}

/// The loop as burn's `SupervisedTraining` runs it. It is used once.
pub(crate) struct FitLoop {
    plan: Mutex<Option<Plan>>,
    outcome: Mutex<Outcome>,
}

impl FitLoop {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan: Mutex::new(Some(plan)), outcome: Mutex::default() }
    }

    pub(crate) fn take_outcome(&self) -> Outcome {
        std::mem::take(&mut *self.outcome.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for FitLoop {
    fn fit(
        &self,
        components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let mut processor = components.event_processor;
        let Some(plan) = self.plan.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return (learner.model(), processor);
        };
        let device = training_device(&learner, plan.gradient_checkpointing);
        learner.fork(&device);
        device.seed(plan.seed);
        let loaders =
            Loaders::<M> { train: train.to_device(&device), valid: valid.to_device(&device.clone().inner()) };
        let mut session = Session {
            learner: &mut learner,
            processor: &mut processor,
            store: &components.event_store,
            interrupter: &components.interrupter,
            accumulation: components.grad_accumulation.unwrap_or(1),
            metrics: plan.metrics,
            previous: plan.resume,
            seed: plan.seed,
            stop_on_failed_save: plan.stop_on_failed_save,
            started: Instant::now(),
            position: Position::default(),
            phase: Phase::Between,
            watched: Vec::new(),
            saver: None,
        };
        let mut early_stopping = components.early_stopping;
        let mut should_stop = |epoch: usize, store: &EventStoreClient| {
            early_stopping.as_mut().is_some_and(|strategy| strategy.should_stop(epoch, store))
        };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            session.open(plan.open_saver)?;
            session.train(&loaders, plan.max_epochs, &mut should_stop)
        }));
        let outcome = session.end(ended, plan.exception_timeout);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        (learner.model(), processor)
    }
}

struct Loaders<M: LearnerModel> {
    train: TrainLoader<M>,
    valid: ValidLoader<M>,
}

/// Where in the run the learner's state is.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    epoch: u64,
    epoch_complete: bool,
    batches: u64,
    step: u64,
}

/// What a panic interrupts, and so which parts of the state are still whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is being changed.
    Between,
    /// Forward and backward pass: parameters are whole, running statistics may have pending updates.
    Step,
    /// The optimizer's update: parameters are whole, the optimizer's state is not.
    Update,
}

/// One call of `fit`.
struct Session<'a, M: LearnerModel> {
    learner: &'a mut Learner<M>,
    processor: &'a mut SupervisedTrainingEventProcessor<M>,
    store: &'a Arc<EventStoreClient>,
    interrupter: &'a Interrupter,
    accumulation: usize,
    metrics: SharedMetrics,
    previous: Option<TrainerState>,
    seed: u64,
    stop_on_failed_save: bool,
    started: Instant,
    position: Position,
    phase: Phase,
    /// Metrics that a strategy ranks by, which must show up when their split is first run.
    watched: Vec<String>,
    saver: Option<Saver>,
}

impl<M: LearnerModel> Session<'_, M> {
    /// Learns the metrics' names and starts saving.
    fn open(&mut self, open_saver: OpenSaver) -> Result<()> {
        self.flush();
        let (saver, watched) = open_saver(&self.metrics)?;
        self.watched = watched;
        self.saver = Some(saver);
        Ok(())
    }

    fn train(
        &mut self,
        loaders: &Loaders<M>,
        max_epochs: u64,
        should_stop_early: &mut dyn FnMut(usize, &EventStoreClient) -> bool,
    ) -> Result<()> {
        let (first_epoch, mut skip) = self.previous.as_ref().map_or((0, 0), TrainerState::next);
        if let Some(previous) = &self.previous {
            self.position = Position {
                epoch: previous.epoch,
                epoch_complete: previous.epoch_complete,
                batches: previous.batches,
                step: previous.global_step,
            };
        }
        for epoch in first_epoch..max_epochs {
            self.position =
                Position { epoch, epoch_complete: false, batches: skip, step: self.position.step };
            self.train_epoch(&loaders.train, skip)?;
            skip = 0;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            self.validate(&loaders.valid)?;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            self.position.epoch_complete = true;
            self.save(&[Event::ValidationEnd, Event::EpochEnd])?;
            if should_stop_early(burn_epoch(epoch), self.store) {
                log::info!("stopped early after epoch {epoch}");
                return Ok(());
            }
        }
        Ok(())
    }

    fn train_epoch(&mut self, loader: &TrainLoader<M>, skip: u64) -> Result<()> {
        let epoch = burn_epoch(self.position.epoch);
        self.report_train(LearnerEvent::StartSplit { epoch_number: epoch, total_items: loader.num_items() });
        let mut iterator = loader.iter();
        for _ in 0..skip {
            iterator.next();
        }
        let mut accumulator = GradientsAccumulator::new();
        let mut accumulated = 0;
        let mut batches = skip;
        while let Some(item) = iterator.next() {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    self.interrupter.fail(error);
                    break;
                }
            };
            batches += 1;
            let progress = iterator.progress();
            let epoch_ends = progress.is_completed();

            // A panic in the step then leaves no other update pending than that step's own.
            snapshot::settle(self.learner);
            self.phase = Phase::Step;
            let output = self.learner.train_step(item);
            accumulated += 1;
            let updates = accumulated >= self.accumulation || epoch_ends;
            let grads = if self.accumulation == 1 {
                Some(output.grads)
            } else {
                accumulator.accumulate(&self.learner.model(), output.grads);
                updates.then(|| accumulator.grads())
            };
            if let Some(grads) = grads {
                self.phase = Phase::Update;
                self.learner.lr_step();
                self.learner.optimizer_step(grads);
                accumulated = 0;
                self.position.step += 1;
                self.position.batches = batches;
            }
            self.phase = Phase::Between;

            let iteration = usize::try_from(batches).unwrap_or(usize::MAX);
            let lr = Some(self.learner.lr_current());
            let item = TrainingItem::new(output.item, progress, Some(iteration), lr);
            self.report_train(LearnerEvent::ProcessedItem(item));
            self.check_watched("train_")?;
            if self.interrupter.should_stop() {
                break;
            }
            // The end of an epoch is saved after validation, with its metrics.
            if updates && !epoch_ends {
                self.save(&[Event::StepEnd])?;
            }
        }
        self.report_train(LearnerEvent::EndSplit(epoch));
        Ok(())
    }

    fn validate(&mut self, loader: &ValidLoader<M>) -> Result<()> {
        let epoch = burn_epoch(self.position.epoch);
        self.report_valid(LearnerEvent::StartSplit { epoch_number: epoch, total_items: loader.num_items() });
        let model = self.learner.model().valid();
        let mut iterator = loader.iter();
        let mut iteration = 0;
        while let Some(item) = iterator.next() {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    self.interrupter.fail(error);
                    break;
                }
            };
            let progress: Progress = iterator.progress();
            iteration += 1;
            let output = InferenceStep::step(&model, item);
            let item = TrainingItem::new(output, progress, Some(iteration), None);
            self.report_valid(LearnerEvent::ProcessedItem(item));
            self.check_watched("val_")?;
            if self.interrupter.should_stop() {
                break;
            }
        }
        self.report_valid(LearnerEvent::EndSplit(epoch));
        self.report_train(LearnerEvent::EndEpoch(epoch));
        self.flush();
        Ok(())
    }

    /// Shows the events to the strategies, and takes note of the saves that ended meanwhile.
    fn save(&mut self, events: &[Event<'_>]) -> Result<()> {
        let Some(mut saver) = self.saver.take() else { return Ok(()) };
        let saved = self.with_moment(events, |moment, snapshot| saver.on(events, moment, snapshot));
        let failed = saver.collect().map(ToString::to_string);
        self.saver = Some(saver);
        saved?;
        match failed {
            Some(reason) if self.stop_on_failed_save => Err(Error::SaveFailed { reason }),
            _ => Ok(()),
        }
    }

    /// Calls `then` with the facts of the moment and a way to take a snapshot.
    fn with_moment<R>(
        &mut self,
        events: &[Event<'_>],
        then: impl FnOnce(&Moment<'_>, &dyn Fn(bool) -> MakeSections) -> R,
    ) -> R {
        let failed = events.iter().any(|event| matches!(event, Event::Exception(_)));
        // What the step logged is to be in its checkpoint. After a failure the metrics' thread may be gone.
        if !failed {
            self.flush();
        }
        let metrics = self.metrics.lock().values().clone();
        let seconds = self.seconds();
        let Position { epoch, epoch_complete, batches, step } = self.position;
        let facts = Facts { epoch, step, elapsed: self.started.elapsed(), metrics: &metrics };
        let state = TrainerState {
            version: STATE_VERSION,
            epoch,
            epoch_complete,
            batches,
            global_step: step,
            seed: self.seed,
            training_time_seconds: seconds,
            metrics: metrics.clone(),
            held: IndexMap::new(),
        };
        let (learner, store, phase) = (&*self.learner, self.store, self.phase);
        let snapshot = move |weights_only: bool| match phase {
            Phase::Between => snapshot::take(learner, store, weights_only),
            Phase::Step => snapshot::take_unsettled(learner, store, weights_only),
            // An optimizer that was interrupted in its update has lost a part of its state.
            Phase::Update => snapshot::take_unsettled(learner, store, true),
        };
        then(&Moment { facts, state }, &snapshot)
    }

    /// Saves what is to be saved at the end, waits for the writer, and says how training ended.
    fn end(mut self, ended: std::thread::Result<Result<()>>, exception_timeout: Duration) -> Outcome {
        let mut error = None;
        let mut message = None;
        match ended {
            Ok(Ok(())) => {
                if let Some(source) = self.interrupter.error() {
                    message = Some(source.to_string());
                    error = Some(Error::Training { source, saved: None });
                } else if self.interrupter.should_stop()
                    && let Err(failed) = self.save(&[Event::Interrupted])
                {
                    error = Some(failed);
                }
            }
            Ok(Err(failed)) => error = Some(failed),
            Err(panic) => {
                let text = panic_message(&*panic);
                message = Some(text.clone());
                error = Some(Error::Panicked { message: text, saved: None });
            }
        }
        if let Some(error) = &error {
            log::error!("{error}");
            // Tells burn, and a terminal dashboard, that this is the end.
            self.interrupter.stop(Some(&error.to_string()));
        }
        let mut outcome = Outcome {
            epochs: self.position.epoch + u64::from(self.position.epoch_complete),
            steps: self.position.step,
            seconds: self.seconds(),
            ..Outcome::default()
        };
        if let Some(mut saver) = self.saver.take() {
            let places = message.as_deref().map_or(Ok(Vec::new()), |message| {
                let event = [Event::Exception(message)];
                self.with_moment(&event, |moment, snapshot| {
                    saver.on_exception(message, moment, snapshot, exception_timeout)
                })
            });
            let places = places.unwrap_or_else(|error| {
                log::error!("the state before the failure cannot be saved: {error}");
                Vec::new()
            });
            let wait = error.is_some().then_some(exception_timeout);
            (outcome.saves, outcome.foremost) = saver.finish(wait);
            let written =
                |path: &PathBuf| outcome.saves.reports.iter().any(|report| report.paths.contains(path));
            let path = places.into_iter().find(written);
            if let Some(Error::Panicked { saved, .. } | Error::Training { saved, .. }) = &mut error {
                *saved = path;
            }
        }
        outcome.error = error;
        outcome
    }

    /// A strategy that ranks by a metric which its split turns out not to log would silently never save.
    fn check_watched(&mut self, split: &str) -> Result<()> {
        if !self.watched.iter().any(|name| name.starts_with(split)) {
            return Ok(());
        }
        self.flush();
        let metrics = self.metrics.lock();
        for name in self.watched.iter().filter(|name| name.starts_with(split)) {
            if !metrics.values().contains_key(name) && !self.interrupter.should_stop() {
                return Err(Error::UnknownMetric {
                    setting: "the metric of a strategy".to_owned(),
                    name: name.clone(),
                    known: metrics.values().keys().cloned().collect(),
                });
            }
        }
        self.watched.retain(|name| !name.starts_with(split));
        Ok(())
    }

    /// Waits until burn has processed every event, and the table of metrics has their values.
    fn flush(&mut self) {
        self.interrupter.fail_on_error(self.processor.flush());
        // The processor hands updates on to the store's thread; a question to that thread, about a metric that
        // does not exist, is answered after all of them.
        let _ = self.store.find_metric("", 0, Aggregate::Mean, &Split::Train);
    }

    fn report_train(&mut self, event: LearnerEvent<<M as burn::train::TrainStep>::Output>) {
        let result: Result<(), EventProcessorError> = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    fn report_valid(&mut self, event: LearnerEvent<<M as InferenceStep>::Output>) {
        let result: Result<(), EventProcessorError> = self.processor.process_valid(event);
        self.interrupter.fail_on_error(result);
    }

    fn seconds(&self) -> f64 {
        let before = self.previous.as_ref().map_or(0.0, |state| state.training_time_seconds);
        before + self.started.elapsed().as_secs_f64()
    }
}

/// burn counts epochs from 1.
fn burn_epoch(epoch: u64) -> usize {
    usize::try_from(epoch + 1).unwrap_or(usize::MAX)
}

/// The device of the model's first parameter, as burn chooses it, with gradients on.
fn training_device<M: LearnerModel>(learner: &Learner<M>, gradient_checkpointing: bool) -> Device {
    let device = learner.model().devices().into_iter().next().unwrap_or_default().autodiff();
    if gradient_checkpointing { device.gradient_checkpointing() } else { device }
}
