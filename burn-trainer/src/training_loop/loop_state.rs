//! One call of `fit` from its first event to its last: the state's position, saving it, and how it ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, LearnerModel,
    SupervisedTrainingEventProcessor, TrainStep,
};
use burn_ckpt::plumbing::{MakeSections, SavedCheckpoint, panic_message};
use burn_environment::EnvironmentProbe;
use indexmap::IndexMap;

use crate::config::FailedSaves;
use crate::error::{Error, Result};
use crate::metrics::{EpochValues, SharedHistory, SharedMetrics, await_updates};
use crate::process::signals::{Patience, StopSignal};
use crate::remote::device_watch::DeviceWatch;
use crate::saving::keep_alive::KeepAlive;
use crate::saving::saver::{SaveAccount, Saver, Wanted};
use crate::saving::snapshot::{self, ReadTiming};
use crate::state::event::{RunProgress, TrainingEvent};
use crate::state::position::{Position, TrainerState};
use crate::training_loop::abandonable_loop::ANSWER_WITHIN;
use crate::training_loop::running_statistics::Buffers;

/// How long burn's metrics may take for one batch before an exception's save goes on without them.
const STUCK_AFTER: Duration = Duration::from_secs(2);
const HISTORY_POLL: Duration = Duration::from_millis(1);

/// Makes the [`Saver`] once the metrics' names are known.
pub(crate) type OpenSaver = Box<dyn FnOnce(&SharedMetrics) -> Result<(Saver, Vec<String>)> + Send>;

/// How training ended.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) error: Option<Error>,
    pub(crate) epochs: u64,
    pub(crate) steps: u64,
    pub(crate) seconds: f64,
    pub(crate) saves: SaveAccount,
    pub(crate) foremost: IndexMap<String, SavedCheckpoint>,
    pub(crate) finished_before: bool,
    pub(crate) stopped_early: bool,
}

/// What a panic interrupts, and so which parts of the state are still whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing has changed since the last update.
    Between,
    /// Batches are going through: parameters are those of the last update, running statistics are not.
    Step,
    /// The optimizer's update: parameters are whole, the optimizer's state is not.
    Update,
}

/// One call of `fit`.
pub(crate) struct Session<'a, M: LearnerModel> {
    pub(crate) learner: &'a mut Learner<M>,
    pub(crate) processor: &'a mut SupervisedTrainingEventProcessor<M>,
    pub(crate) store: &'a Arc<EventStoreClient>,
    pub(crate) interrupter: &'a Interrupter,
    /// The number of devices.
    pub(crate) devices: usize,
    pub(crate) accumulation: usize,
    pub(crate) metrics: SharedMetrics,
    pub(crate) previous: Option<TrainerState>,
    pub(crate) history: SharedHistory,
    pub(crate) seed: u64,
    pub(crate) failed_saves: FailedSaves,
    /// How long the save of a failure, or of a stop by a signal, may take.
    pub(crate) exception_timeout: Duration,
    pub(crate) started: Instant,
    pub(crate) position: Position,
    pub(crate) phase: Phase,
    /// The running statistics of the last update. `None` for a model without any.
    pub(crate) buffers: Option<Buffers>,
    /// That of the last optimizer step.
    pub(crate) learning_rate: ModuleLearningRate,
    /// Whether there was nothing left to train.
    pub(crate) finished_before: bool,
    /// Whether early stopping has ended the run.
    pub(crate) stopped_early: bool,
    /// Metrics that a strategy ranks by, which must show up when their split is first run.
    pub(crate) watched: Vec<String>,
    pub(crate) saver: Option<Saver>,
    pub(crate) keeper: KeepAlive<M>,
    /// Whether devices of other machines are lost.
    pub(crate) watch: Option<DeviceWatch>,
    /// Who describes the environment, and the devices that it is to be told of.
    pub(crate) environment: Option<(Arc<EnvironmentProbe>, Vec<Device>)>,
}

impl<M: LearnerModel> Session<'_, M> {
    /// Learns the metrics' names and starts saving.
    pub(crate) fn open(&mut self, open_saver: OpenSaver) -> Result<()> {
        self.flush();
        let (saver, watched) = open_saver(&self.metrics)?;
        self.watched = watched;
        self.saver = Some(saver);
        Ok(())
    }

    /// Shows the events to the strategies, saves if one of them wants it, and takes note of the saves that ended
    /// meanwhile.
    ///
    /// At a step the metrics shown can be a step behind: burn processes them on another thread, and waiting for it
    /// at every step would slow training down.
    pub(crate) fn save(&mut self, events: &[TrainingEvent<'_>]) -> Result<()> {
        let Some(mut saver) = self.saver.take() else { return Ok(()) };
        let mut patience = Patience::new(self.interrupter.clone(), self.exception_timeout);
        let submitted = catch_unwind(AssertUnwindSafe(|| {
            let wanted = self.wanted(&mut saver, events);
            if wanted.is_empty() {
                return Ok(());
            }
            // What the step logged is to be in its checkpoint.
            self.flush();
            let is_last = matches!(events, [TrainingEvent::Interrupted(_)]);
            saver.submit(&wanted, &self.state(), is_last, &mut patience, |weights_only| {
                self.snapshot(weights_only)
            })
        }));
        let collected = saver.collect(self.failed_saves);
        self.keeper.release_before(saver.being_written());
        // Also after a panic (a metric's shows when it is waited for): the state before it is still to be saved.
        self.saver = Some(saver);
        submitted.unwrap_or_else(|panic| resume_unwind(panic))?;
        collected
    }

    fn wanted(&self, saver: &mut Saver, events: &[TrainingEvent<'_>]) -> Vec<Wanted> {
        let metrics = self.metrics.lock();
        let facts = RunProgress {
            epoch: self.position.epoch,
            step: self.position.global_step,
            elapsed: self.started.elapsed(),
            metrics: metrics.values(),
        };
        saver.wanted(events, &facts)
    }

    /// The loop's state as it goes into a checkpoint.
    fn state(&self) -> TrainerState {
        let metrics = self.metrics.lock().values().clone();
        TrainerState {
            learning_rate: (self.position.global_step > 0).then(|| self.learning_rate.base()),
            batches_per_step: Some((self.devices * self.accumulation) as u64),
            ..TrainerState::new(self.position, self.seed, self.seconds(), metrics)
        }
    }

    fn snapshot(&self, weights_only: bool) -> MakeSections {
        // An optimizer that was interrupted in its update has lost a part of its state.
        let weights_only = weights_only || self.phase == Phase::Update;
        let history = (!weights_only).then(|| self.history.at(self.position.logged()));
        let buffers = self.buffers.as_ref().filter(|_| self.phase != Phase::Between);
        let step = self.position.global_step;
        let reading = if self.watch.is_some() { ReadTiming::Now } else { ReadTiming::Later };
        snapshot::take(
            self.learner,
            self.store,
            buffers,
            history,
            |model, learner| {
                self.keeper.keep(step, model, learner);
            },
            reading,
        )
    }

    /// Begins: from the state that is gone on from, if there is one.
    pub(crate) fn begin(&mut self) {
        let buffers = snapshot::settle(self.learner);
        // Most models have none, and then there is nothing to keep at every step.
        self.buffers = (!buffers.is_empty()).then_some(buffers);
        let Some(previous) = &self.previous else { return };
        self.position = previous.position;
        if let Some(learning_rate) = previous.learning_rate {
            self.learning_rate = learning_rate.into();
        }
    }

    /// The state is that of an optimizer update, or of the end of an epoch's training.
    pub(crate) fn settle(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            *buffers = snapshot::settle(self.learner);
        }
        self.phase = Phase::Between;
    }

    /// The devices have computed something, so that they are open, and the GPUs can be looked for. Costs a message, once.
    pub(crate) fn tell_devices(&mut self) {
        if let Some((environment, devices)) = self.environment.take() {
            environment.devices(devices);
        }
    }

    /// Ends the epoch: it has been trained and validated, and its metrics, which were waited for, are final.
    pub(crate) fn complete_epoch(&mut self) {
        let values = EpochValues::of(burn_epoch(self.position.epoch), &self.metrics, self.store);
        self.history.close_epoch(values);
        self.position.epoch_complete = true;
    }

    /// Saves what is to be saved at the end, waits for the writer, and says how training ended.
    pub(crate) fn end(mut self, ended: std::thread::Result<Result<()>>) -> Outcome {
        let ended = ended.and_then(|ended| {
            // Also what the save of a stop runs into, is saved before.
            catch_unwind(AssertUnwindSafe(|| {
                ended?;
                // Then a stop is no stop.
                if let Some(lost) = self.watch.as_ref().and_then(DeviceWatch::lost) {
                    return Err(lost.into());
                }
                self.save_stop()
            }))
        });
        let (error, message) = match ended {
            Ok(Ok(())) => match self.interrupter.error() {
                Some(source) => {
                    let message = source.to_string();
                    (Some(Error::Training { source, saved: None }), Some(message))
                }
                None => (None, None),
            },
            Ok(Err(failed)) => {
                // Work has been done that would be lost with it.
                let message = (self.position.global_step > 0).then(|| failed.to_string());
                (Some(failed), message)
            }
            Err(panic) => {
                let message = panic_message(&*panic);
                (Some(Error::Panicked { message: message.clone(), saved: None }), Some(message))
            }
        };
        let (mut error, message) = match error.as_ref().and_then(|_| self.watch.as_ref()?.ask(ANSWER_WITHIN))
        {
            Some(lost) => {
                let message = lost.to_string();
                (Some(Error::from(lost)), Some(message))
            }
            None => (error, message),
        };
        if let Some(error) = &error {
            log::error!("{error}");
            // Tells burn, and a terminal dashboard, that this is the end.
            self.interrupter.stop(Some(&error.to_string()));
        }
        let mut outcome = Outcome {
            epochs: self.position.epochs(),
            steps: self.position.global_step,
            finished_before: self.finished_before,
            stopped_early: self.stopped_early,
            seconds: self.seconds(),
            ..Outcome::default()
        };
        if message.is_some() {
            // It may have failed in its first step, for what its devices are.
            self.tell_devices();
        }
        if let Some(mut saver) = self.saver.take() {
            let places = message.map_or(Vec::new(), |message| self.save_before(&message, &mut saver));
            let is_limited = error.is_some() || StopSignal::of(self.interrupter).is_some();
            let wait = is_limited.then_some(self.exception_timeout);
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

    /// Saves the state of a run that was asked to stop.
    fn save_stop(&mut self) -> Result<()> {
        if !self.interrupter.should_stop() || self.interrupter.error().is_some() {
            return Ok(());
        }
        let reason = self.interrupter.get_message().unwrap_or_else(|| "no reason given".to_owned());
        self.save(&[TrainingEvent::Interrupted(&reason)])
    }

    /// Saves the state before a failure. Returns where it will be.
    fn save_before(&self, message: &str, saver: &mut Saver) -> Vec<PathBuf> {
        let wait = self.exception_timeout;
        self.await_history(wait);
        // A device that failed may fail here again, and there is more to be ended in order.
        let places = catch_unwind(AssertUnwindSafe(|| {
            let wanted = self.wanted(saver, &[TrainingEvent::Exception(message)]);
            saver.submit_within(wait, &wanted, &self.state(), |weights_only| self.snapshot(weights_only))
        }));
        let failed = match places {
            Ok(Ok(places)) => return places,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_message(&*panic),
        };
        log::error!("the state before the failure cannot be saved: {failed}");
        Vec::new()
    }

    /// Waits until the metrics of the batches in the state are in the history. burn's thread, which puts them there,
    /// may be gone or stuck: it is waited for only while it gets on.
    fn await_history(&self, wait: Duration) {
        let epoch = burn_epoch(self.position.epoch);
        let updates = || self.history.updates(epoch);
        let (mut seen, mut since) = (updates(), Instant::now());
        while seen < self.position.logged() && since.elapsed() < STUCK_AFTER.min(wait) {
            std::thread::sleep(HISTORY_POLL);
            let now = updates();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// A strategy that ranks by a metric which its split turns out not to log would silently never save.
    pub(crate) fn check_watched(&mut self, split: &str) -> Result<()> {
        if !self.watched.iter().any(|name| name.starts_with(split)) {
            return Ok(());
        }
        self.flush();
        let metrics = self.metrics.lock();
        for name in self.watched.iter().filter(|name| name.starts_with(split)) {
            if !metrics.values().contains_key(name) && !self.interrupter.should_stop() {
                let logged = metrics.values().keys().cloned().collect();
                return Err(Error::MetricNotLogged { name: name.clone(), logged });
            }
        }
        self.watched.retain(|name| !name.starts_with(split));
        Ok(())
    }

    /// Waits until burn has processed every event, and the table of metrics has their values.
    pub(crate) fn flush(&mut self) {
        self.interrupter.fail_on_error(self.processor.flush());
        await_updates(self.store);
    }

    pub(crate) fn report_train(&mut self, event: LearnerEvent<<M as TrainStep>::Output>) {
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    pub(crate) fn report_valid(&mut self, event: LearnerEvent<<M as InferenceStep>::Output>) {
        let result = self.processor.process_valid(event);
        self.interrupter.fail_on_error(result);
    }

    fn seconds(&self) -> f64 {
        TrainerState::seconds_since(self.previous.as_ref(), self.started)
    }
}

/// burn counts epochs from 1.
pub(crate) fn burn_epoch(epoch: u64) -> usize {
    usize::try_from(epoch + 1).unwrap_or(usize::MAX)
}
