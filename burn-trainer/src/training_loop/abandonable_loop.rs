//! Training with devices of other machines: on a thread that is abandoned when it hangs in a lost device.
//!
//! A call of burn that waits for a lost machine never returns, and a destructor would wait in the same way.
//! So the thread that called `fit` only watches. It continues when the work has ended, or when a device is
//! lost and the work does not end by itself. State that was read from the devices by then is written first.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn::train::{
    Interrupter, Learner, LearnerModel, LearningResult, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, ValidLoader,
};
use burn_ckpt::plumbing::WriterActivity;

use super::burn_settings::RunEpochs;
use super::fit_loop::FitLoop;
use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::process::dashboard;
use crate::process::run_output::OutputHandle;
use crate::remote::device_watch::DeviceWatch;
use crate::remote::loss_diagnosis::LostDevices;
use crate::saving::run_checkpoints;

/// How often the watch is read while the work continues.
const POLL: Duration = Duration::from_millis(50);
/// The longest that the work and the writer may make no progress after the loss of a device, before they are
/// abandoned.
const IDLE_LIMIT: Duration = Duration::from_secs(3);

/// Runs work that can hang in a lost device. When the run has no device of another machine, it only runs the
/// work.
#[derive(Clone)]
pub(crate) struct DeviceLossGuard {
    watch: Option<DeviceWatch>,
    /// What the writer is doing, once there is one.
    activity: Arc<OnceLock<WriterActivity>>,
    config: TrainerConfig,
}

impl DeviceLossGuard {
    /// # Errors
    ///
    /// [`Error::Config`] when the system gives no thread.
    pub(crate) fn new(
        devices: &[Device],
        activity: &Arc<OnceLock<WriterActivity>>,
        config: &TrainerConfig,
    ) -> Result<Self> {
        let watch = DeviceWatch::start(devices, config.device_timeout())?;
        Ok(Self { watch, activity: Arc::clone(activity), config: config.clone() })
    }

    pub(crate) fn watch(&self) -> Option<&DeviceWatch> {
        self.watch.as_ref()
    }

    /// Does the work: on this thread, unless it could hang in a device of another machine. A panic of the
    /// work continues here.
    ///
    /// # Errors
    ///
    /// [`LostDevices`] when a device is lost and the work was abandoned.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        interrupter: &Interrupter,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LostDevices> {
        let Some(watch) = &self.watch else { return Ok(work()) };
        let (done, ended) = mpsc::channel();
        let output = OutputHandle::of_this_thread();
        let spawned = thread::Builder::new().name("burn-trainer".to_owned()).spawn(move || {
            output.set_for_thread();
            // Sending fails when the work was abandoned.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        if let Err(error) = spawned {
            resume_unwind(Box::new(format!("the system gives no thread to train on: {error}")));
        }
        let mut looked = Instant::now();
        let lost = loop {
            match ended.recv_timeout(POLL) {
                Ok(ended) => return Ok(ended.unwrap_or_else(|panic| resume_unwind(panic))),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => resume_unwind(Box::new("the training thread is gone")),
            }
            // The process was suspended: the devices could not be heard. A busy machine also looks late.
            if looked.elapsed() > (watch.silence() / 2).max(4 * POLL) {
                watch.reset_silence();
            }
            looked = Instant::now();
            if let Some(lost) = watch.lost() {
                break lost;
            }
        };
        log::error!("{lost}");
        interrupter.stop(Some(&lost.to_string()));
        match self.end_of(&ended) {
            Some(ended) => Ok(ended.unwrap_or_else(|panic| resume_unwind(panic))),
            None => {
                dashboard::close();
                Err(lost)
            }
        }
    }

    /// Waits for the end of work that may hang, as long as the work or the writer makes progress.
    fn end_of<T>(&self, ended: &Receiver<thread::Result<T>>) -> Option<thread::Result<T>> {
        let idle_limit = IDLE_LIMIT.min(self.config.device_timeout() / 8);
        let is_written = |limit| self.activity.get().is_none_or(|activity| activity.wait(limit, idle_limit));
        if !is_written(self.config.exception_timeout()) {
            log::error!("a checkpoint stays unfinished: its state can no longer be read from the device");
            return None;
        }
        let mut since = Instant::now();
        while since.elapsed() < idle_limit {
            match ended.recv_timeout(POLL) {
                Ok(ended) => return Some(ended),
                Err(RecvTimeoutError::Timeout) if !is_written(Duration::ZERO) => since = Instant::now(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// The error to report. When a lost device is the cause, that is the loss, with the checkpoint to resume
    /// from.
    pub(crate) fn with_cause(&self, error: Error) -> Error {
        let error = match (error, &self.watch) {
            // An error of the program, or a loss that is known.
            (error @ (Error::Config { .. } | Error::DeviceLost { .. }), _) | (error, None) => error,
            (error, Some(watch)) => watch.test_now().map_or(error, Error::from),
        };
        match error {
            Error::DeviceLost { devices, reason, .. } => {
                Error::DeviceLost { devices, reason, newest: run_checkpoints::newest_resumable(&self.config) }
            }
            error => error,
        }
    }
}

/// The loop under a guard, as burn's `launch` runs it, with all that burn does before and after.
pub(crate) struct AbandonableLoop<M: LearnerModel> {
    inner: Arc<FitLoop<M>>,
    guard: DeviceLossGuard,
    epochs: RunEpochs,
}

impl<M: LearnerModel> AbandonableLoop<M> {
    pub(crate) fn new(inner: Arc<FitLoop<M>>, guard: DeviceLossGuard, epochs: RunEpochs) -> Self {
        Self { inner, guard, epochs }
    }
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for AbandonableLoop<M> {
    fn train(
        &self,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        mut components: TrainingComponents<M>,
    ) -> LearningResult<M> {
        let interrupter = components.interrupter.clone();
        let inner = Arc::clone(&self.inner);
        if let Err(error) = self.epochs.put_into(&mut components) {
            inner.fail_at_start(error);
        }
        match self.guard.run(&interrupter, move || inner.train(learner, train, valid, components)) {
            Ok(result) => result,
            Err(lost) => {
                self.inner.abandon(lost.into());
                // Unwinds through burn's `launch`, which owns nothing of the run any more. The outcome has
                // the reason.
                resume_unwind(Box::new("training was abandoned"));
            }
        }
    }

    fn fit(
        &self,
        components: TrainingComponents<M>,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        self.inner.fit(components, learner, train, valid, starting_epoch)
    }
}
