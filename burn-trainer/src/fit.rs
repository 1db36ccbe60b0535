//! The training loop: burn's single-device loop with events at which checkpoints are saved.
//!
//! What surrounds the loop (the state's position, saving it, how training ends) is in `session.rs`. This
//! is a custom strategy of burn's `SupervisedTraining`, so that metrics, renderers, loggers, early stopping,
//! the interrupter, gradient accumulation and schedulers are burn's own. The order of what happens in a step is
//! that of burn's `SingleDeviceTrainingStrategy`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress;
use burn::data::dataset::DatasetError;
use burn::optim::GradientsAccumulator;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    InferenceStep, Learner, LearnerEvent, LearnerModel, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use crate::config::FailedSaves;
use crate::error::Result;
use crate::event::Event;
use crate::metrics::SharedMetrics;
use crate::session::{OpenSaver, Outcome, Phase, Position, Session};
use crate::snapshot;
use crate::state::TrainerState;

/// What the loop needs besides what burn gives it.
pub(crate) struct Plan {
    pub(crate) max_epochs: u64,
    pub(crate) seed: u64,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) failed_saves: FailedSaves,
    pub(crate) exception_timeout: Duration,
    pub(crate) metrics: SharedMetrics,
    pub(crate) resume: Option<TrainerState>,
    pub(crate) open_saver: OpenSaver,
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
            failed_saves: plan.failed_saves,
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

impl<M: LearnerModel> Session<'_, M> {
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
            // A split without a batch has logged nothing.
            self.check_watched("")?;
            self.position.epoch_complete = true;
            self.save(&[Event::ValidationEnd, Event::EpochEnd])?;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            if should_stop_early(burn_epoch(epoch), self.store) {
                log::info!("stopped early after epoch {epoch}");
                return Ok(());
            }
        }
        Ok(())
    }

    fn train_epoch(&mut self, loader: &TrainLoader<M>, skip: u64) -> Result<()> {
        let epoch = burn_epoch(self.position.epoch);
        let mut iterator = loader.iter();
        for _ in 0..skip {
            iterator.next();
        }
        if skip > 0 && iterator.progress().is_completed() {
            // It stopped during validation. An empty split would only overwrite this one's metrics.
            return Ok(());
        }
        self.report_train(LearnerEvent::StartSplit { epoch_number: epoch, total_items: loader.num_items() });
        let mut accumulator = GradientsAccumulator::new();
        let mut accumulated = 0;
        let mut batches = skip;
        while let Some(item) = iterator.next() {
            let Some(item) = self.loaded(item) else { break };
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
            let Some(item) = self.loaded(item) else { break };
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

    /// A batch, or `None` after telling burn why there is none.
    fn loaded<B>(&self, batch: Result<B, DatasetError>) -> Option<B> {
        batch.map_err(|error| self.interrupter.fail(error)).ok()
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
