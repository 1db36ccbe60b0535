//! One call of `Trainer::fit`: a custom strategy of burn's `SupervisedTraining`, for one device or several.
//!
//! So metrics, renderers, loggers, early stopping, the interrupter, gradient accumulation and schedulers are
//! burn's own. `epochs` has what happens in the loop, `loop_end` how it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::train::{
    InferenceStep, Learner, LearnerModel, SupervisedLearningStrategy, SupervisedTrainingEventProcessor,
    TrainLoader, TrainingComponents, ValidLoader,
};
use burn_ckpt::plumbing::ReadTiming;
use parking_lot::Mutex;

use super::epochs::LoopData;
use super::loop_end::Outcome;
use super::loop_state::{LoopProgress, LoopState};
use super::parts::burn_early_stopping::BurnEarlyStopping;
use super::parts::device_monitor::DeviceMonitor;
use super::parts::effective_batch::EffectiveBatch;
use super::parts::event_reporter::EventReporter;
use super::parts::loop_callbacks::LoopCallbacks;
use super::parts::loop_rules::LoopRules;
use super::parts::multi_device::TrainingDevices;
use super::parts::trained_learner::TrainedLearner;
use crate::callbacks::registered::Callbacks;
use crate::dataloader::NamedLoader;
use crate::error::{Error, Result};
use crate::learner_state::restore::restore_scheduler;
use crate::learner_state::snapshot::optimizer_and_scheduler;
use crate::metrics::RunMetrics;
use crate::saving::run_saves::RunSaves;
use crate::saving::save_summary::SaveSummary;
use crate::state::end_reason::EndReason;
use crate::state::position::{DataLengths, EpochLengths, StepChange};
use crate::state::resume_point::ResumePoint;
use crate::state::run_clock::RunClock;
use crate::state::run_info::RunInfo;
use crate::state::speed_meter::SpeedMeter;
use crate::stopping::parked_state::ParkingSlot;
use crate::stopping::save_from_outside::{KeptStore, LoopFromOutside};
use crate::stopping::stop_control::LoopStop;

/// What the loop needs besides what burn gives it.
pub(crate) struct FitPlan<M: LearnerModel> {
    pub(crate) rules: LoopRules,
    /// The validation sets beside that of burn's training.
    pub(crate) validation_sets: Vec<NamedLoader<<M as InferenceStep>::Input>>,
    pub(crate) devices: TrainingDevices,
    pub(crate) monitor: DeviceMonitor,
    /// What the loaders have.
    pub(crate) data: DataLengths,
    pub(crate) metrics: RunMetrics,
    pub(crate) saves: RunSaves,
    pub(crate) resume: Option<ResumePoint>,
    pub(crate) callbacks: Callbacks<M>,
    /// What the run is, for the callbacks.
    pub(crate) info: RunInfo,
    pub(crate) stop: LoopStop,
    pub(crate) speed: SpeedMeter,
}

/// The loop as burn's `SupervisedTraining` runs it. It runs once.
pub(crate) struct FitLoop<M: LearnerModel> {
    plan: Mutex<Option<FitPlan<M>>>,
    /// What ends the call before its first step.
    start_error: Mutex<Option<Error>>,
    outcome: Mutex<Outcome>,
}

impl<M: LearnerModel> FitLoop<M> {
    pub(crate) fn new(plan: FitPlan<M>) -> Self {
        Self { plan: Mutex::new(Some(plan)), start_error: Mutex::default(), outcome: Mutex::default() }
    }

    /// Has the call end with an error before its first step.
    pub(super) fn fail_at_start(&self, error: Error) {
        *self.start_error.lock() = Some(error);
    }

    /// Ends the call with an error while the loop, which may still write, is abandoned.
    pub(super) fn abandon(&self, error: Error) {
        let saves = SaveSummary { unfinished: true, ..SaveSummary::default() };
        *self.outcome.lock() = Outcome { error: Some(error), saves, ..Outcome::default() };
    }

    pub(crate) fn take_outcome(&self) -> Outcome {
        std::mem::take(&mut *self.outcome.lock())
    }
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for FitLoop<M> {
    fn fit(
        &self,
        components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let mut processor = components.event_processor;
        let Some(plan) = self.plan.lock().take() else { return (learner.model(), processor) };
        let FitPlan { rules, validation_sets, devices, mut resume, speed, .. } = plan;
        learner.fork(devices.main());
        let reading = plan.monitor.read_timing();
        let accumulation = components.grad_accumulation.unwrap_or(1);
        let batch = EffectiveBatch { devices: devices.all().len(), accumulation };
        let previous = resume.as_ref().map(|resume| &resume.state);
        let clock = RunClock::start(previous);
        speed.start(clock.clone(), resume.as_ref().map(|resume| &resume.metadata.speed));
        plan.metrics.log.measure_by(Box::new(speed.of_lines()));
        let slot = plan.stop.parking_slot();
        let mut state = LoopState {
            learner: TrainedLearner::new(&mut learner, devices.all(), reading, slot.clone()),
            burn: EventReporter::new(&mut processor, &components.event_store, &components.interrupter),
            early_stopping: BurnEarlyStopping::new(components.early_stopping),
            callbacks: LoopCallbacks::new(plan.callbacks, devices.main(), plan.info),
            progress: LoopProgress::new(clock, speed, batch, EpochLengths::new(plan.data, previous)),
            rules,
            metrics: plan.metrics,
            saves: Arc::new(Mutex::new(plan.saves)),
            stop: plan.stop,
            monitor: plan.monitor,
        };
        // Outlives the last save: a worker of a loader may not end.
        let mut data = None;
        let start_error = self.start_error.lock().take();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            start_error.map_or(Ok(()), Err)?;
            state.open(resume.as_mut())?;
            if let Some(slot) = slot {
                state.stop.set_training(state.seen_from_outside(slot, reading));
            }
            devices.settle();
            let data =
                data.insert(LoopData::<M>::new(&devices, &train, &valid, &validation_sets, rules.batches));
            state.train(data, resume.is_some())?;
            resume.as_ref().map_or(Ok(()), |resume| state.check_trained(resume))
        }));
        let outcome = state.end(ended);
        devices.gather(&mut learner);
        *self.outcome.lock() = outcome;
        (learner.model(), processor)
    }
}

impl<M: LearnerModel> LoopState<'_, M> {
    /// Starts saving, with the state that the run resumes from, if there is one.
    fn open(&mut self, mut resume: Option<&mut ResumePoint>) -> Result<()> {
        if let Some(resume) = &resume {
            self.check_resumed(resume, self.rules.keep_effective_batch)?;
        }
        self.open_saver()?;
        self.begin(resume.as_ref().map(|resume| &resume.state))?;
        if let Some(resume) = &mut resume {
            self.restore_callbacks(resume)?;
        }
        self.callbacks.settle()?;
        Ok(())
    }

    /// Rejects a new run that begins with another run's state, and for which that state says that it is done:
    /// it would save nothing, and say that it is complete.
    fn check_trained(&self, resume: &ResumePoint) -> Result<()> {
        if !resume.is_of_another_run || !self.progress.finished_before {
            return Ok(());
        }
        let reason = self.progress.end_reason(&self.early_stopping, &self.rules);
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let (path, run_id) = (resume.checkpoint.path().display(), &resume.metadata.run_id);
        let reason = format!(
            "{path} of the run {run_id} ends the run before its first step{reason}: nothing would be trained. Change what ends it, or \
             begin with the weights alone (init_from)"
        );
        Err(Error::config("ckpt_path", reason))
    }

    /// What the thread sees that ends the run when this loop does not see a stop.
    fn seen_from_outside(&self, slot: ParkingSlot<M>, reading: ReadTiming) -> Arc<LoopFromOutside<M>> {
        let (progress, rules, metrics) = (self.progress.clone(), self.rules, self.metrics.clone());
        let (clock, data) = (progress.clock.clone(), progress.data);
        Arc::new(LoopFromOutside {
            slot,
            saves: Arc::clone(&self.saves),
            metrics: self.metrics.clone(),
            store: KeptStore::new(self.burn.store),
            clock: self.progress.clock.clone(),
            trainer_state: Box::new(move |position, rates, ended| {
                let progress = LoopProgress { position, ..progress.clone() };
                progress.trainer_state(rules.seed, rates, &metrics, ended)
            }),
            end_at: Box::new(move |position, asked| {
                let began_with = data.began_with(position.epoch);
                rules.end_at(position, began_with, clock.training_time(), asked.map(EndReason::from))
            }),
            reading,
        })
    }

    /// Checks that the learner has the state of the checkpoint, and how many batches its optimizer steps use.
    pub(super) fn check_resumed(&mut self, resume: &ResumePoint, keep_effective_batch: bool) -> Result<()> {
        let before = resume.state.batches_per_step;
        self.progress.batch = self.progress.batch.resumed(before, keep_effective_batch)?;
        let batches_per_step = self.progress.batch.batches_per_step();
        self.progress.step_change = StepChange::of(&resume.state, batches_per_step);
        let store = self.burn.store;
        restore_scheduler(self.learner.get_mut(), resume, |learner| {
            optimizer_and_scheduler(learner, store, ReadTiming::Later)
        })?;
        Ok(())
    }
}
