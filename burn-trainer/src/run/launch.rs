//! A prepared run, from the last settings of burn's `SupervisedTraining` to the result: signals, burn's
//! `launch`, and what training came to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use burn::train::{Learner, LearnerModel, LearningResult, SupervisedTraining};
use burn_ckpt::chain;
use burn_ckpt::plumbing::panic_message;

use super::end_with;
use super::open::OpenRun;
use crate::config::{EndWith, TrainerConfig};
use crate::error::{Error, Result};
use crate::metrics::{LoggerSlot, RunMetricLogger, RunMetrics};
use crate::process::last_panic;
use crate::process::launcher::requeue_after;
use crate::process::signals::SignalWatch;
use crate::result::FitResult;
use crate::state::event::TrainingEvent;
use crate::state::resume_point::ResumePoint;
use crate::state::run_info::RunInfo;
use crate::training_loop::loop_end::{Outcome, Stop};

/// A run that can be launched.
pub(crate) struct PreparedRun {
    pub(crate) config: TrainerConfig,
    pub(crate) metrics: RunMetrics,
    /// Where the learner's state comes from. `None` for a new run.
    pub(crate) resume: Option<ResumePoint>,
    run: OpenRun,
    resumed_from: Option<PathBuf>,
    /// Whether this process writes, or leaves that to the process of rank 0.
    writes: bool,
}

/// What [`SupervisedTraining::launch`] returned, or its panic.
pub(crate) type Launched<M> = std::thread::Result<LearningResult<M>>;

impl PreparedRun {
    pub(super) fn new(
        config: TrainerConfig,
        metrics: RunMetrics,
        resume: Option<ResumePoint>,
        run: OpenRun,
        writes: bool,
    ) -> Self {
        let resumed_from = resume.as_ref().map(|resume| resume.checkpoint.path().to_path_buf());
        Self { config, metrics, resume, run, resumed_from, writes }
    }

    /// The number of epochs that are done.
    pub(crate) fn completed(&self) -> u64 {
        self.resume.as_ref().map_or(0, |resume| resume.state.position.next().epoch)
    }

    /// Says where the run resumes.
    pub(crate) fn complete(&self, info: &mut RunInfo) {
        let Some(resume) = &self.resume else { return };
        info.start = self.run.start;
        info.resumed_from = Some(resume.checkpoint.path().to_path_buf());
        info.counted.clone_from(&resume.state.metrics_log);
        info.written_again = self.metrics.log.written_again();
    }

    /// Sets on `training` what is always the trainer's: burn's metric files.
    pub(crate) fn configure<M: LearnerModel>(
        &self,
        training: SupervisedTraining<M>,
        metric_logger: RunMetricLogger,
        slot: &LoggerSlot,
    ) -> SupervisedTraining<M> {
        slot.put(metric_logger, self.run.output.handle());
        // For a training that is not made by `Trainer::training`. Otherwise the slot before it takes the
        // logger.
        training.with_metric_logger(slot.logger())
    }

    /// Sets the first epoch for a loop that is not the trainer's, which has its own.
    pub(crate) fn set_first_epoch<M: LearnerModel>(
        &self,
        training: SupervisedTraining<M>,
    ) -> SupervisedTraining<M> {
        match usize::try_from(self.completed()).unwrap_or(usize::MAX) {
            0 => training,
            completed => training.checkpoint(completed),
        }
    }

    /// Trains, while `signals` are watched. `end` gets what burn's loop returned, and ends the saves.
    /// `at_end` sees what training came to while the run is still locked.
    ///
    /// # Errors
    ///
    /// The error of the outcome, or [`Error::Panicked`] or [`Error::Training`] where burn's loop failed.
    pub(crate) fn launch<M: LearnerModel>(
        mut self,
        training: SupervisedTraining<M>,
        learner: Learner<M>,
        signals: SignalWatch,
        end: impl FnOnce(&Launched<M>) -> Outcome,
        at_end: impl FnOnce(&Result<FitResult<M>>),
    ) -> Result<FitResult<M>> {
        last_panic::note_messages();
        // burn's own threads pass their panics to the loop's thread, also after the loop has ended.
        let launched = catch_unwind(AssertUnwindSafe(|| training.launch(learner)));
        signals.view().loop_has_ended();
        let outcome = end(&launched);
        self.note_end(&launched, &outcome);
        self.metrics.log.end();
        signals.training_has_ended();
        if outcome.saves.unfinished {
            // The writer still writes, so the run stays locked.
            self.run.keep_lock();
        }
        if outcome.has_begun() {
            self.run.training_has_begun();
        }
        let ended = self.came_to(launched, outcome, signals);
        at_end(&ended);
        ended
    }

    fn came_to<M: LearnerModel>(
        &self,
        launched: Launched<M>,
        mut outcome: Outcome,
        signals: SignalWatch,
    ) -> Result<FitResult<M>> {
        if let Some(error) = outcome.error.take() {
            return Err(error);
        }
        let result = launched.map_err(|panic| {
            let message = self.metrics.own_message(panic_message(&*panic));
            Error::Panicked { message, saved: None }
        })?;
        // A process that does not write has no checkpoints.
        let end_with = if self.writes { self.config.end_with } else { EndWith::Last };
        end_with::load(self.result(result, outcome, signals)?, end_with)
    }

    /// Has the log say how the run ended, where its checkpoints do not, as with a loop of burn's.
    fn note_end<M>(&self, launched: &Launched<M>, outcome: &Outcome) {
        // A loop that was abandoned does not say where it is.
        if outcome.end_is_noted || (outcome.steps == 0 && outcome.saved_step.is_none()) {
            return;
        }
        let max_epochs = self.config.max_epochs as u64;
        let is_done = outcome.is_done(max_epochs);
        let (saves, steps) = (&outcome.saves, outcome.steps);
        let is_saved =
            outcome.saved_step == Some(steps) && saves.newest_is_durable && !saves.was_superseded(steps);
        let failure = match (&outcome.error, launched) {
            (Some(error), _) => Some(chain(error)),
            (None, Err(panic)) => Some(self.metrics.own_message(panic_message(&**panic))),
            (None, Ok(LearningResult { error, .. })) => error.as_ref().map(ToString::to_string),
        };
        let stop = match launched {
            Ok(LearningResult { interrupted: Some(stop), .. }) => Some(Stop::from(stop.clone()).reason),
            _ => None,
        };
        let ended = match (&failure, &stop) {
            (Some(message), _) => TrainingEvent::Exception(message).ended(),
            (None, Some(reason)) if !is_done => TrainingEvent::Interrupted(reason).ended(),
            // The newest checkpoint has all epochs.
            (None, _) if is_saved && outcome.epochs >= max_epochs => None,
            (None, _) => TrainingEvent::TrainingEnd.ended(),
        };
        if let Some(ended) = ended {
            self.metrics.log.note_end(&ended, None, outcome.steps, saves.newest_timestamp);
        }
    }

    fn result<M>(
        &self,
        result: LearningResult<M>,
        outcome: Outcome,
        signals: SignalWatch,
    ) -> Result<FitResult<M>> {
        let LearningResult { model, renderer, interrupted, error } = result;
        if let Some(source) = error {
            return Err(Error::Training { source, saved: None });
        }
        // burn's loop does not tell what it saw, but what the interrupter says after the end.
        let after_end = interrupted.map(Stop::from);
        let stop = outcome.stop.as_ref().or(after_end.as_ref());
        let ended = outcome.without_error(self.config.max_epochs as u64, stop, signals.received());
        let requeues = self.writes && self.config.slurm_requeue;
        let requeued = ended.signal().filter(|_| requeues).and_then(requeue_after);
        if requeued.is_some() {
            // At a time limit Slurm sends SIGTERM soon after its warning. It must not cut short what the
            // program does at its end, however late the thread that handles signals gets to it.
            signals.keep_until_exit();
        }
        let full_name = |name: &str| Some(self.metrics.table.lock().find(name)?.0);
        let saves = outcome.saves.count();
        let reports = outcome.saves.reports;
        Ok(FitResult {
            model,
            model_checkpoint: None,
            renderer,
            outcome: ended,
            finished_before: outcome.finished_before,
            run_dir: self.run.layout.run_dir().to_path_buf(),
            run_id: self.run.layout.run_id().to_owned(),
            epochs: outcome.epochs,
            global_step: outcome.steps,
            training_time_seconds: outcome.seconds,
            speed: outcome.speed,
            metrics: self.metrics.whole_values(),
            checkpoints: outcome.checkpoints,
            resumed_from: self.resumed_from.clone(),
            requeued,
            saves,
            longest_save: outcome.saves.longest,
            skipped_saves: outcome.saves.skipped,
            replaced_saves: outcome.saves.replaced,
            failed_saves: reports
                .into_iter()
                .filter_map(|report| report.outcome.err().map(|error| (report.global_step, error)))
                .collect(),
            last_save_failed: !outcome.saves.newest_is_durable || outcome.saves.unmoved_link.is_some(),
            unmoved_link: outcome.saves.unmoved_link,
            mirror: None,
            best_metric: self.config.best_metric(full_name),
            temporary: None,
        })
    }
}
