//! Training with devices of other machines: on a thread that can be left behind when it hangs in one that is gone.
//!
//! Nothing can make a call of burn's return that waits for a lost machine, and a destructor would run into the same wait.
//! So the thread that called `fit` only looks on. It goes on when the work has ended, or when a device is lost and the work
//! does not end by itself; what has been read from the devices by then is written first.

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

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::process::terminal;
use crate::remote::device_watch::{DeviceWatch, Lost};
use crate::saving::run_checkpoints;
use crate::training_loop::epochs::FitLoop;

/// How often the watch is asked while the work goes on.
const POLL: Duration = Duration::from_millis(50);
/// How long the work and the writer may do nothing once a device is lost, at most, before they are left behind.
const END_WITHIN: Duration = Duration::from_secs(3);
/// How long the devices may take to answer when something has failed, which may be one of them.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Runs work under the watch of a run's devices, where there are some to watch.
#[derive(Clone)]
pub(crate) struct Guard {
    watch: Option<DeviceWatch>,
    /// What the writer is doing, once there is one.
    activity: Arc<OnceLock<WriterActivity>>,
    config: TrainerConfig,
}

impl Guard {
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

    /// Does the work: on this thread, unless it could hang in a device of another machine. A panic of it goes on here.
    ///
    /// # Errors
    ///
    /// [`Lost`] when a device is, and the work was left behind.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        interrupter: &Interrupter,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let Some(watch) = &self.watch else { return Ok(work()) };
        let (done, ended) = mpsc::channel();
        let spawned = thread::Builder::new().name("burn-trainer".to_owned()).spawn(move || {
            // Nobody listens any more to work that was left behind.
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
            if looked.elapsed() > watch.silence() / 2 {
                watch.begin_anew();
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
                terminal::restore();
                Err(lost)
            }
        }
    }

    /// Waits for the end of work that may hang, as long as it or the writer gets on.
    fn end_of<T>(&self, ended: &Receiver<thread::Result<T>>) -> Option<thread::Result<T>> {
        let end_within = END_WITHIN.min(self.config.device_timeout() / 8);
        let is_written = |limit| self.activity.get().is_none_or(|activity| activity.wait(limit, end_within));
        if !is_written(self.config.exception_timeout()) {
            log::error!("a checkpoint stays unfinished: its state cannot be read from the device any more");
            return None;
        }
        let mut since = Instant::now();
        while since.elapsed() < end_within {
            match ended.recv_timeout(POLL) {
                Ok(ended) => return Some(ended),
                Err(RecvTimeoutError::Timeout) if !is_written(Duration::ZERO) => since = Instant::now(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// The error to report: the loss of a device where that is what is behind it, with the checkpoint to go on from.
    pub(crate) fn explained(&self, error: Error) -> Error {
        let error = match (error, &self.watch) {
            // What the program itself asked for wrongly, or what is known already.
            (error @ (Error::Config { .. } | Error::DeviceLost { .. }), _) | (error, None) => error,
            (error, Some(watch)) => watch.ask(ANSWER_WITHIN).map_or(error, Error::from),
        };
        match error {
            Error::DeviceLost { devices, reason, .. } => {
                Error::DeviceLost { devices, reason, newest: run_checkpoints::newest_resumable(&self.config) }
            }
            error => error,
        }
    }
}

/// The loop under a guard: as burn's `launch` runs it, with all that burn does before and after.
pub(crate) struct GuardedLoop {
    inner: Arc<FitLoop>,
    guard: Guard,
}

impl GuardedLoop {
    pub(crate) fn new(inner: Arc<FitLoop>, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for GuardedLoop {
    fn train(
        &self,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        components: TrainingComponents<M>,
    ) -> LearningResult<M> {
        let interrupter = components.interrupter.clone();
        let inner = Arc::clone(&self.inner);
        match self.guard.run(&interrupter, move || inner.train(learner, train, valid, components)) {
            Ok(result) => result,
            Err(lost) => {
                self.inner.leave(lost.into());
                // Through burn's `launch`, which holds nothing of the run any more. The outcome says why.
                resume_unwind(Box::new("training was left behind"));
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
