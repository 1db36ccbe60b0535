//! The training loop: burn's, for one device or several, with events at which checkpoints are saved.
//!
//! What surrounds the loop (the state's position, saving it, how training ends) is in `session.rs`. This
//! is a custom strategy of burn's `SupervisedTraining`, so that metrics, renderers, loggers, early stopping,
//! the interrupter, gradient accumulation and schedulers are burn's own. The order of what happens in a step is
//! that of burn's `SingleDeviceTrainingStrategy`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    InferenceStep, Learner, LearnerEvent, LearnerModel, MultiDeviceOptim, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainStep, TrainingComponents, TrainingItem, ValidLoader,
};
use burn_environment::EnvironmentProbe;

use crate::config::FailedSaves;
use crate::error::{Error, Result};
use crate::metrics::{SharedHistory, SharedMetrics};
use crate::remote::device_watch::DeviceWatch;
use crate::run::resume::{self, Resume};
use crate::saving::keep_alive::KeepAlive;
use crate::saving::saver::SaveAccount;
use crate::saving::snapshot::{self, ReadTiming};
use crate::state::event::TrainingEvent;
use crate::state::position::Position;
use crate::training_loop::effective_batch;
use crate::training_loop::epoch_batches::EpochData;
use crate::training_loop::loop_state::{OpenSaver, Outcome, Phase, Session, burn_epoch};
use crate::training_loop::multi_device::{Devices, Gradients};
use crate::training_loop::seeding::{self, Draw};

/// What the loop needs besides what burn gives it.
pub(crate) struct Plan {
    pub(crate) max_epochs: u64,
    pub(crate) seed: u64,
    /// Where to train. The first has the model.
    pub(crate) devices: Vec<Device>,
    pub(crate) optim: MultiDeviceOptim,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) failed_saves: FailedSaves,
    pub(crate) keep_effective_batch: bool,
    /// Whether devices of other machines are lost.
    pub(crate) watch: Option<DeviceWatch>,
    pub(crate) exception_timeout: Duration,
    pub(crate) metrics: SharedMetrics,
    pub(crate) history: SharedHistory,
    pub(crate) resume: Option<Resume>,
    pub(crate) open_saver: OpenSaver,
    pub(crate) environment: Option<Arc<EnvironmentProbe>>,
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

    /// Nobody waits for the loop any more, which may write still.
    pub(crate) fn leave(&self, error: Error) {
        let saves = SaveAccount { unfinished: true, ..SaveAccount::default() };
        let outcome = Outcome { error: Some(error), saves, ..Outcome::default() };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
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
        let devices = training_devices(&plan);
        let main = devices.main().clone();
        learner.fork(&main);
        let learning_rate = learner.lr_current();
        let accumulation = components.grad_accumulation.unwrap_or(1);
        let mut session = Session {
            learner: &mut learner,
            processor: &mut processor,
            store: &components.event_store,
            interrupter: &components.interrupter,
            devices: devices.all().len(),
            accumulation,
            metrics: plan.metrics,
            previous: plan.resume.as_ref().map(|resume| resume.state.clone()),
            history: plan.history,
            seed: plan.seed,
            failed_saves: plan.failed_saves,
            exception_timeout: plan.exception_timeout,
            started: Instant::now(),
            position: Position::default(),
            phase: Phase::Between,
            buffers: None,
            learning_rate,
            finished_before: false,
            stopped_early: false,
            watched: Vec::new(),
            watch: plan.watch,
            saver: None,
            keeper: KeepAlive::new(devices.all()),
            environment: plan.environment.map(|environment| (environment, devices.all().to_vec())),
        };
        let mut early_stopping = components.early_stopping;
        let mut should_stop = |epoch: usize, store: &EventStoreClient| {
            early_stopping.as_mut().is_some_and(|strategy| strategy.should_stop(epoch, store))
        };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if let Some(resume) = &plan.resume {
                let before = resume.state.batches_per_step;
                session.accumulation = effective_batch::accumulation(
                    before,
                    devices.all().len(),
                    accumulation,
                    plan.keep_effective_batch,
                )?;
                let learner = session.learner.clone();
                let (optimizer, scheduler) =
                    snapshot::optimizer_and_scheduler(learner, session.store, ReadTiming::Later)?;
                resume::check_taken_over(&optimizer, &scheduler, resume)?;
            }
            session.open(plan.open_saver)?;
            session.begin();
            devices.settle();
            let data = Data::<M> {
                train: EpochData::new(&train, devices.all()),
                valid: EpochData::new(&valid, &[main.clone().inner()]),
                devices: &devices,
            };
            session.train(&data, plan.max_epochs, &mut should_stop)
        }));
        let outcome = session.end(ended);
        devices.gather(&mut learner);
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        (learner.model(), processor)
    }
}

/// What a run trains and validates on.
struct Data<'a, M: LearnerModel> {
    train: EpochData<<M as TrainStep>::Input>,
    valid: EpochData<<M as InferenceStep>::Input>,
    devices: &'a Devices,
}

impl<M: LearnerModel> Session<'_, M> {
    fn train(
        &mut self,
        data: &Data<'_, M>,
        max_epochs: u64,
        should_stop_early: &mut dyn FnMut(usize, &EventStoreClient) -> bool,
    ) -> Result<()> {
        let mut next = self.position.next();
        let is_done = next.epoch >= max_epochs;
        // Early stopping sees the epochs that are done once more, and is then in the state that it was in.
        let stopped_early = !is_done
            && (0..next.epoch).fold(false, |_, epoch| {
                self.history.see_until(burn_epoch(epoch));
                should_stop_early(burn_epoch(epoch), self.store)
            });
        if stopped_early || is_done {
            self.finished_before = self.previous.is_some();
            self.stopped_early = stopped_early;
            return Ok(());
        }
        while next.epoch < max_epochs {
            self.position = next;
            self.history.see_until(burn_epoch(next.epoch));
            self.train_epoch(data)?;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            data.devices.gather(self.learner);
            self.validate(data)?;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            // A split without a batch has logged nothing.
            self.check_watched("")?;
            self.complete_epoch();
            self.save(&[TrainingEvent::ValidationEnd, TrainingEvent::EpochEnd])?;
            if self.interrupter.should_stop() {
                return Ok(());
            }
            if should_stop_early(burn_epoch(self.position.epoch), self.store) {
                log::info!("stopped early after epoch {}", self.position.epoch);
                self.stopped_early = true;
                return Ok(());
            }
            next = self.position.next();
        }
        Ok(())
    }

    fn train_epoch(&mut self, data: &Data<'_, M>) -> Result<()> {
        if self.position.trained {
            // It stopped during validation.
            return Ok(());
        }
        let Position { epoch, mut batches, .. } = self.position;
        let Some(mut passing) = self.loaded(data.train.begin(self.position)) else { return Ok(()) };
        self.report_train(LearnerEvent::StartSplit {
            epoch_number: burn_epoch(epoch),
            total_items: data.train.num_items(),
        });
        let mut gradients = Gradients::new(data.devices, self.accumulation > 1);
        let mut accumulated = 0;
        let mut epoch_ends = false;
        while let Some(step) = passing.next_step() {
            let Some(step) = self.loaded(step) else { break };
            let progress = passing.progress();
            epoch_ends = progress.is_completed();

            self.phase = Phase::Step;
            let mut outputs = Vec::with_capacity(step.len());
            for (device, batch) in step {
                seeding::seed(&data.devices.all()[device], self.seed, Draw::Train { epoch, batch: batches });
                let output = data.devices.train_step(self.learner, device, batch);
                gradients.add(self.learner, device, output.grads);
                batches += 1;
                outputs.push((batches, output.item));
            }
            accumulated += 1;
            let updates = accumulated >= self.accumulation || epoch_ends;
            if updates {
                self.phase = Phase::Update;
                self.learner.lr_step();
                self.learning_rate = self.learner.lr_current();
                gradients.apply(self.learner);
                accumulated = 0;
                self.position.global_step += 1;
                self.position.batches = batches;
                self.position.items = progress.items_processed as u64;
                self.settle();
                self.tell_devices();
            }

            for (batch, item) in outputs {
                let iteration = usize::try_from(batch).unwrap_or(usize::MAX);
                let lr = Some(self.learning_rate.clone());
                let item = TrainingItem::new(item, progress.clone(), Some(iteration), lr);
                self.report_train(LearnerEvent::ProcessedItem(item));
            }
            self.check_watched("train_")?;
            if self.interrupter.should_stop() {
                break;
            }
            // The end of an epoch is saved after validation, with its metrics.
            if updates && !epoch_ends {
                self.save(&[TrainingEvent::StepEnd])?;
            }
            // A save may have been waited for.
            if self.interrupter.should_stop() {
                break;
            }
        }
        self.report_train(LearnerEvent::EndSplit(burn_epoch(epoch)));
        if epoch_ends || !self.interrupter.should_stop() {
            // With a loader that does not know its end, the last gradients of an accumulation come to nothing.
            self.position = Position { trained: true, batches, ..self.position };
            self.settle();
        }
        Ok(())
    }

    fn validate(&mut self, data: &Data<'_, M>) -> Result<()> {
        let epoch = self.position.epoch;
        let start = Position::at_start(epoch, self.position.global_step);
        let Some(mut passing) = self.loaded(data.valid.begin(start)) else { return Ok(()) };
        self.report_valid(LearnerEvent::StartSplit {
            epoch_number: burn_epoch(epoch),
            total_items: data.valid.num_items(),
        });
        seeding::seed(data.devices.main(), self.seed, Draw::Validation { epoch });
        let model = self.learner.model().valid();
        let mut iteration = 0;
        while let Some(batches) = passing.next_step() {
            let Some(batches) = self.loaded(batches) else { break };
            for (_, batch) in batches {
                iteration += 1;
                let output = InferenceStep::step(&model, batch);
                let item = TrainingItem::new(output, passing.progress(), Some(iteration), None);
                self.report_valid(LearnerEvent::ProcessedItem(item));
            }
            self.check_watched("val_")?;
            if self.interrupter.should_stop() {
                break;
            }
        }
        self.report_valid(LearnerEvent::EndSplit(burn_epoch(epoch)));
        self.report_train(LearnerEvent::EndEpoch(burn_epoch(epoch)));
        self.flush();
        Ok(())
    }

    /// What a loader gave, or `None` after telling burn why it gave nothing.
    fn loaded<B>(&self, batch: Result<B, DatasetError>) -> Option<B> {
        batch.map_err(|error| self.interrupter.fail(error)).ok()
    }
}

/// Those of the plan, with gradients on.
fn training_devices(plan: &Plan) -> Devices {
    let with_gradients = |device: Device| {
        let device = device.autodiff();
        if plan.gradient_checkpointing { device.gradient_checkpointing() } else { device }
    };
    Devices::new(plan.devices.iter().cloned().map(with_gradients).collect(), plan.optim)
}
