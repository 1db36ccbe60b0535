//! How a call of `fit` ends: the last save, waiting for the writer, and what training came to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::train::{Interruption, LearnerModel};
use burn_ckpt::chain;
use burn_ckpt::plumbing::panic_message;
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::IndexMap;

use super::loop_state::{LoopProgress, LoopState};
use crate::callbacks::{Callback, CallbackContext, CallbackResult};
use crate::config::TrainerConfig;
use crate::error::{Error, Result, Stage};
use crate::learner_state::restore::restore;
use crate::metrics::{METRICS_LIMIT, burn_epoch};
use crate::process::signals::StopSignal;
use crate::run_speed::RunSpeed;
use crate::saving::save_summary::SaveSummary;
use crate::state::end_reason::{EndReason, RunOutcome};
use crate::state::event::TrainingEvent;
use crate::state::resume_point::ResumePoint;
use crate::state::run_info::RunEnd;
use crate::strategy::FAST_DEV_RUN;

/// How training ended.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) error: Option<Error>,
    pub(crate) epochs: u64,
    pub(crate) steps: u64,
    pub(crate) seconds: f64,
    /// Where the time went. `None` from a loop that is not the trainer's.
    pub(crate) speed: Option<RunSpeed>,
    pub(crate) saves: SaveSummary,
    /// The leading checkpoint of each strategy, by the strategy's name.
    pub(crate) checkpoints: IndexMap<String, SavedCheckpoint>,
    /// Whether a resumed run had nothing left to train.
    pub(crate) finished_before: bool,
    /// Why a limit, early stopping or a callback has ended the run.
    pub(crate) ended_because: Option<EndReason>,
    /// The stop that the loop saw when it ended. `None` from a loop that is not the trainer's.
    pub(crate) stop: Option<Stop>,
    /// The step of the newest state that was saved, from a loop that is not the trainer's.
    pub(crate) saved_step: Option<u64>,
    /// Whether a checkpoint or the log says how the run ended. No checkpoint of a loop that is not the
    /// trainer's does.
    pub(crate) end_is_noted: bool,
}

/// Why a run was asked to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) reason: String,
}

impl From<Interruption> for Stop {
    fn from(interruption: Interruption) -> Self {
        Self { reason: interruption.reason.unwrap_or_else(|| "no reason given".to_owned()) }
    }
}

impl Outcome {
    /// Whether the run is done: all its epochs are, or it has ended before as if they were. A stop that came
    /// after that has stopped nothing.
    pub(crate) fn is_done(&self, max_epochs: u64) -> bool {
        self.ended_because.is_some() || self.epochs >= max_epochs
    }

    /// How a run ended that has not failed. `stop` is what asked it to stop, and `signal` the first signal
    /// that came.
    pub(crate) fn without_error(
        &self,
        max_epochs: u64,
        stop: Option<&Stop>,
        signal: Option<StopSignal>,
    ) -> RunOutcome {
        match stop.filter(|_| !self.is_done(max_epochs)) {
            Some(Stop { reason }) => RunOutcome::Stopped { reason: reason.clone(), signal },
            None => RunOutcome::Done(self.ended_because.clone()),
        }
    }

    /// Whether training has begun: an error of the settings or the data did not come before the first step.
    pub(crate) fn has_begun(&self) -> bool {
        // What can come before the first step came there, as no step is done.
        let is_of_training = self.error.as_ref().is_none_or(|error| error.stage() == Stage::Training);
        self.steps > 0 || self.saves.unfinished || is_of_training
    }
}

/// Why training failed.
struct Failure {
    error: Error,
    /// The message for the save of the state before the failure. `None` when no work would be lost.
    exception: Option<String>,
}

impl Failure {
    /// What the log says of it.
    fn text(&self) -> String {
        self.exception.clone().unwrap_or_else(|| chain(&self.error))
    }
}

impl<M: LearnerModel> LoopState<'_, M> {
    /// Saves what must be saved at the end, and waits for the writer. `ended` is what the loop returned, or
    /// its panic.
    pub(super) fn end(mut self, ended: std::thread::Result<Result<()>>) -> Outcome {
        self.stop.view.loop_has_ended();
        // burn's dashboard resets the interrupter after the loop, if the program has set it up with that.
        let stop = self.burn.interrupter.interruption().map(Stop::from);
        let failure = self.failure(ended, stop.as_ref());
        if let Some(Failure { error, .. }) = &failure {
            let text = chain(error);
            log::error!("{text}");
            // Tells burn, and a terminal dashboard, that this is the end.
            self.burn.interrupter.stop(Some(&text));
            self.call_at_failure("on_exception", |callback, context| callback.on_exception(context, error));
        }
        let mut outcome = Outcome {
            epochs: self.progress.position.epochs(),
            steps: self.progress.position.global_step,
            finished_before: self.progress.finished_before,
            ended_because: self.progress.end_reason(&self.early_stopping, &self.rules),
            seconds: self.progress.clock.seconds(),
            speed: self.progress.speed_at_end(),
            stop,
            ..Outcome::default()
        };
        let mut paths = Vec::new();
        if let Some(Failure { exception: Some(message), .. }) = &failure {
            paths = self.save_exception(message);
        }
        let is_limited = failure.is_some() || StopSignal::of(self.burn.interrupter).is_some();
        let saves = Arc::clone(&self.saves);
        let mut saves = saves.lock();
        let limit = self.stop.view.time_left().unwrap_or(saves.exception_timeout());
        (outcome.saves, outcome.checkpoints) = saves.finish(is_limited.then_some(limit));
        drop(saves);
        self.note_end(&outcome, failure.as_ref());
        outcome.end_is_noted = true;
        if outcome.saves.newest_is_durable && !outcome.saves.unfinished && failure.is_none() {
            self.stop.view.state_is_saved();
        }
        let path = paths.iter().find_map(|path| outcome.saves.saved_path(path));
        outcome.error = failure.map(|failure| match failure.error {
            Error::Panicked { message, .. } => Error::Panicked { message, saved: path },
            Error::Training { source, .. } => Error::Training { source, saved: path },
            Error::Callback { name, method, source, .. } => {
                Error::Callback { name, method, source, saved: path }
            }
            error => error,
        });
        if self.rules.loads_back && outcome.error.is_none() && outcome.stop.is_none() {
            outcome.error = self.load_back(&mut outcome).err();
        }
        self.end_callbacks(&mut outcome);
        outcome
    }

    /// Loads the state that a fast dev run has saved: into the learner and the callbacks.
    fn load_back(&mut self, outcome: &mut Outcome) -> Result<()> {
        let reports = &mut outcome.saves.reports;
        if let Some(failed) = reports.iter().position(|report| report.outcome.is_err())
            && let Err(source) = reports.swap_remove(failed).outcome
        {
            return Err(Error::SaveFailed { source });
        }
        let saved = outcome.checkpoints.get(FAST_DEV_RUN).ok_or_else(|| {
            Error::config(
                FAST_DEV_RUN,
                "its state was not saved: the run ended before its first batch was done",
            )
        })?;
        let mut resume = ResumePoint::open(&saved.path)?;
        let sections = self.callbacks.callbacks.section_names();
        restore(self.learner.get_mut(), &mut resume, &sections)?;
        self.check_resumed(&resume, false)?;
        self.restore_callbacks(&mut resume)
    }

    /// Tells the callbacks of the last checkpoints, and of the end. An error there is the run's, unless it
    /// has one.
    fn end_callbacks(&mut self, outcome: &mut Outcome) {
        self.await_last_values(outcome.error.is_some());
        let events = std::mem::take(&mut outcome.saves.events);
        let told = self.call_logged().and_then(|()| self.call_events(&events));
        self.callbacks.ended = Some(self.run_end(outcome));
        let ended = self.call_between("on_fit_end", |callback, context| callback.on_fit_end(context));
        match (&outcome.error, told.and(ended)) {
            (_, Ok(())) => {}
            (None, Err(error)) => outcome.error = Some(error),
            (Some(_), Err(error)) => log::error!("{}", chain(&error)),
        }
    }

    /// Waits for the values of the last batches, for the callbacks: a stop that saves nothing has not.
    fn await_last_values(&mut self, has_failed: bool) {
        if self.callbacks.is_empty() {
            return;
        }
        if has_failed {
            // burn's thread may be what has failed.
            self.await_logged(METRICS_LIMIT);
        } else {
            self.burn.flush();
        }
    }

    /// Waits for the lines of the last batches. A start that has failed before its first batch has no lines,
    /// also where it has the position of the state that it resumes.
    fn await_logged(&self, limit: Duration) {
        if self.progress.has_moved() {
            let position = self.progress.position;
            self.metrics.history.await_count(burn_epoch(position.epoch), position.logged(), limit);
        }
    }

    /// Has the log say how the run ended, where no checkpoint says it: the state was saved already, no
    /// strategy saves it, or its save has failed.
    fn note_end(&self, outcome: &Outcome, failure: Option<&Failure>) {
        let LoopProgress { end_is_submitted, position, .. } = self.progress;
        let (saves, step) = (&outcome.saves, position.global_step);
        if end_is_submitted && saves.has_saved(step) {
            return;
        }
        if failure.is_none() && !position.epoch_complete {
            // Nothing was saved, so the lines of the last batches were not waited for. They come before it.
            self.await_logged(METRICS_LIMIT);
        }
        let mut because = None;
        let ended = match (failure, &outcome.stop) {
            (Some(failure), _) => TrainingEvent::Exception(&failure.text()).ended(),
            (None, _) if outcome.is_done(self.rules.max_epochs) => {
                match saves.failure_at(step).filter(|_| end_is_submitted) {
                    Some(error) => {
                        let message = format!("its last state was not saved: {}", chain(error));
                        TrainingEvent::Exception(&message).ended()
                    }
                    None => {
                        let is_early = outcome.epochs < self.rules.max_epochs;
                        because = outcome.ended_because.as_ref().filter(|_| is_early).map(EndReason::named);
                        TrainingEvent::TrainingEnd.ended()
                    }
                }
            }
            (None, stop) => stop.as_ref().and_then(|stop| TrainingEvent::Interrupted(&stop.reason).ended()),
        };
        if let Some(ended) = ended {
            self.metrics.log.note_end(&ended, because.as_deref(), step, saves.newest_timestamp);
        }
    }

    /// How the run ended, for the callbacks.
    fn run_end(&self, outcome: &Outcome) -> RunEnd {
        let signal = self.stop.view.received();
        let ended = match &outcome.error {
            Some(error) => RunOutcome::Failed(chain(error)),
            None => outcome.without_error(self.rules.max_epochs, outcome.stop.as_ref(), signal),
        };
        let Outcome { epochs, steps: global_step, .. } = *outcome;
        let config = self.callbacks.info.trainer_config.clone();
        let config = serde_json::from_value::<TrainerConfig>(config).unwrap_or_default();
        let table = self.metrics.table.lock();
        let best_metric = config.best_metric(|name| Some(table.find(name)?.0));
        RunEnd { outcome: ended, epochs, global_step, checkpoints: outcome.checkpoints.clone(), best_metric }
    }

    /// Calls a method of the callbacks after a failure, which is the one to report.
    fn call_at_failure(
        &mut self,
        method: &'static str,
        call: impl FnMut(&mut dyn Callback<M>, &mut CallbackContext<'_, M>) -> CallbackResult,
    ) {
        if let Err(error) = self.call_between(method, call) {
            log::error!("{}", chain(&error));
        }
    }

    /// Whether the run has come to its end, as [`Outcome::is_done`] says it.
    fn is_done(&self) -> bool {
        let LoopProgress { position, ended_because, .. } = &self.progress;
        let is_early = self.early_stopping.has_stopped() || ended_because.is_some();
        is_early || self.rules.is_last_end(*position)
    }

    /// Saves the state of a stopped run, and finds out whether training failed.
    fn failure(&mut self, ended: std::thread::Result<Result<()>>, stop: Option<&Stop>) -> Option<Failure> {
        let ended = ended.and_then(|ended| {
            // The save of a stop can fail or panic too. The state before that is then saved as well.
            catch_unwind(AssertUnwindSafe(|| {
                ended?;
                // The loss of a device stops a run, but not as a user does.
                if let Some(lost) = self.monitor.lost() {
                    return Err(lost.into());
                }
                // A stop that came after the end has stopped nothing.
                match stop.filter(|_| self.progress.has_moved() && !self.is_done()) {
                    Some(stop) => self.save(&[TrainingEvent::Interrupted(&stop.reason)]),
                    None => Ok(()),
                }
            }))
        });
        let failure = match ended {
            Ok(Ok(())) => {
                let source = self.burn.interrupter.error()?;
                let exception = Some(source.to_string());
                Failure { error: Error::Training { source, saved: None }, exception }
            }
            Ok(Err(error)) => {
                let reason = || match &error {
                    Error::Panicked { message, .. } => message.clone(),
                    Error::Callback { name, method, source, .. } => {
                        format!("the callback {name} failed in {method}: {}", chain(&**source))
                    }
                    error => chain(error),
                };
                let exception = self.progress.has_moved().then(reason);
                Failure { error, exception }
            }
            Err(panic) => {
                let message = self.metrics.own_message(panic_message(&*panic));
                Failure { exception: Some(message.clone()), error: Error::Panicked { message, saved: None } }
            }
        };
        // The failure may only be the effect of a lost device.
        match self.monitor.test_now() {
            Some(lost) => Some(Failure { exception: Some(lost.to_string()), error: Error::from(lost) }),
            None => Some(failure),
        }
    }

    /// Saves the state before a failure, if saving is on. Returns the paths that are reserved for it.
    fn save_exception(&mut self, message: &str) -> Vec<PathBuf> {
        let limit = self.saves.lock().exception_timeout();
        if self.saves.lock().saver().is_none() {
            return Vec::new();
        }
        self.await_logged(METRICS_LIMIT.min(limit));
        // A device that has failed can fail here again. The rest of the end must still happen.
        let reason = match catch_unwind(AssertUnwindSafe(|| self.save_before_failure(message))) {
            Ok(Ok(paths)) => return paths,
            Ok(Err(error)) => chain(&error),
            Err(panic) => panic_message(&*panic),
        };
        log::error!("the state before the failure cannot be saved: {reason}");
        Vec::new()
    }
}
