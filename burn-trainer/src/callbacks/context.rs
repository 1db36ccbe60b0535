//! What a callback can see of a run, and do in it.

use std::fmt;

use burn::tensor::Device;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;

use super::missing_validation::{ended_before_validation, ends_before_validation};
use super::requests::Requests;
use super::scalars::{LoggedSplit, ScalarValue, ScalarsOf};
use crate::config::NeverDue;
use crate::error::CallbackResult;
use crate::learner_state::learning_rates::{HOW_TO_SCALE, can_be_scaled, takes_scale};
use crate::metrics::{RunMetrics, is_of_validation};
use crate::process::console::warn;
use crate::state::end_reason::EndReason;
use crate::state::position::EndPosition;
use crate::state::run_info::{RunEnd, RunInfo};

/// The run at the time of a callback's method: where it is, what it has, and what a callback can ask of it.
///
/// ```
/// use burn::train::LearnerModel;
/// use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, LoggedScalar};
///
/// /// Logs by how much the loss of the validation is above that of the training.
/// struct Gap;
///
/// impl<M: LearnerModel> Callback<M> for Gap {
///     fn name(&self) -> String {
///         "gap".to_owned()
///     }
///
///     fn scalars(&self) -> Vec<LoggedScalar> {
///         vec![LoggedScalar::of_validation("gap")] // val_gap
///     }
///
///     fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
///         let metrics = context.metrics();
///         if let (Some(valid), Some(train)) = (metrics.get("val_loss"), metrics.get("train_loss")) {
///             let gap = valid - train;
///             context.log("gap", gap)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub struct CallbackContext<'a, M: LearnerModel> {
    pub(super) run: RunView<'a, M>,
    pub(super) scalars: &'a ScalarsOf,
    /// The callback's name.
    pub(super) name: &'a str,
    pub(super) requests: &'a mut Requests<M>,
}

/// Where the run is, and what it has.
pub(crate) struct RunView<'a, M: LearnerModel> {
    pub(crate) epoch: u64,
    pub(crate) max_epochs: u64,
    /// Whether the run validates.
    pub(crate) validates: bool,
    /// That no validation comes, by the configuration alone.
    pub(crate) never_due: Option<NeverDue>,
    /// Says why no validation comes, by the data.
    pub(crate) why_never_due: &'a dyn Fn() -> Option<String>,
    /// Whether it has validated.
    pub(crate) was_validated: bool,
    pub(crate) global_step: u64,
    /// Where the run can end next.
    pub(crate) next_end: EndPosition,
    /// Whether a callback can end the run there.
    pub(crate) may_end_at: &'a dyn Fn(EndPosition) -> bool,
    /// The number of the batch in its epoch, from 1, and 0 before the first.
    pub(crate) batch: u64,
    /// What is logged now.
    pub(crate) split: Option<LoggedSplit>,
    pub(crate) learner: &'a Learner<M>,
    pub(crate) learning_rate: f64,
    pub(crate) device: &'a Device,
    pub(crate) info: &'a RunInfo,
    /// How it ended, once it has.
    pub(crate) ended: Option<&'a RunEnd>,
    pub(crate) metrics: &'a RunMetrics,
    pub(crate) read_metrics: &'a dyn Fn() -> IndexMap<String, f64>,
}

// Not derived: that would ask for a model that can be copied.
impl<M: LearnerModel> Clone for RunView<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: LearnerModel> Copy for RunView<'_, M> {}

impl<M: LearnerModel> CallbackContext<'_, M> {
    /// What the run is: its id, its directory, its settings.
    #[must_use]
    pub fn run(&self) -> &RunInfo {
        self.run.info
    }

    /// How the run ended. `None` before [`on_fit_end`](super::Callback::on_fit_end).
    #[must_use]
    pub fn ended(&self) -> Option<&RunEnd> {
        self.run.ended
    }

    /// Whether `metrics.jsonl` has all lines that were logged.
    pub(crate) fn log_is_whole(&self) -> bool {
        self.run.metrics.log.is_whole()
    }

    /// The epoch in progress, counted from 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.run.epoch
    }

    /// The number of epochs that the run is to have.
    #[must_use]
    pub fn max_epochs(&self) -> u64 {
        self.run.max_epochs
    }

    /// The number of optimizer steps done.
    #[must_use]
    pub fn global_step(&self) -> u64 {
        self.run.global_step
    }

    /// The number of training batches of this epoch that are computed.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.run.batch
    }

    /// The learning rate of the last optimizer step: of parameters that are in no group of their own.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.run.learning_rate
    }

    /// By what callbacks have multiplied the scheduler's rate so far.
    #[must_use]
    pub fn learning_rate_scale(&self) -> f64 {
        self.requests.rate_scale
    }

    /// Multiplies the learning rate of all following steps by a factor. The product of all factors is part of
    /// the checkpoint.
    ///
    /// # Errors
    ///
    /// For a factor that is not above 0 and finite, and where no scheduler of the learner is a
    /// [`scaled`](crate::lr_scheduler::scaled) one.
    pub fn scale_learning_rate(&mut self, factor: f64) -> CallbackResult {
        let scale = self.requests.rate_scale * factor;
        if !(factor > 0.0 && scale > 0.0 && scale.is_finite()) {
            let reason =
                format!("the learning rate cannot be scaled by {factor}: give a finite factor above 0");
            return Err(reason.into());
        }
        // An earlier scale was taken.
        if self.requests.rate_scale == 1.0 && !takes_scale(self.run.learner) {
            return Err(HOW_TO_SCALE.into());
        }
        self.requests.rate_scale = scale;
        Ok(())
    }

    /// Whether the rate of every parameter can be scaled, for a check before the first step.
    #[must_use]
    pub fn can_scale_learning_rate(&self) -> bool {
        can_be_scaled(self.run.learner)
    }

    /// Whether the metric was logged by this process. Values from before a resume stand until then.
    #[must_use]
    pub fn is_logged(&self, metric: &str) -> bool {
        self.run.metrics.table.lock().logged().contains(metric)
    }

    /// The full name of a metric that a user wrote (`val_loss`, `val/loss`, `Val Loss`), and whether lower or
    /// higher is better if the metric says so.
    ///
    /// # Errors
    ///
    /// For a name that no metric has, with the names that there are.
    pub fn find_metric(&self, name: &str) -> CallbackResult<(String, Option<MetricMode>)> {
        let table = self.run.metrics.table.lock();
        table.find(name).ok_or_else(|| {
            let known = table.numeric_names().join(", ");
            format!("the metric {name} is not registered; the metrics are {known}").into()
        })
    }

    /// Why a metric is never logged: it is of a validation that the run leaves out, or that is never due.
    pub(super) fn why_never_logged(&self, metric: &str) -> Option<String> {
        let of_validation = is_of_validation(metric);
        match self.run.never_due {
            _ if !of_validation => None,
            _ if !self.run.validates => Some("which limit_valid_batches leaves out".to_owned()),
            never_due => never_due.map(|never| format!("which is never due: {never}")),
        }
    }

    /// Says that this callback looks at a metric of a validation that does not come, as far as the data says
    /// it.
    pub(super) fn warn_if_never_due(&self, metric: &str) {
        if let Some(why) = self.why_never_due(metric) {
            warn(&ends_before_validation(self.name, metric, &why));
        }
    }

    /// Says that it has looked at none, unless that was said before.
    pub(super) fn warn_if_never_validated(&self, metric: &str) {
        let is_done = self.run.ended.is_some_and(|ended| ended.outcome.is_done());
        let never = is_of_validation(metric) && !self.run.was_validated && self.run.global_step > 0;
        if is_done && never && self.why_never_due(metric).is_none() {
            warn(&ended_before_validation(self.name, metric));
        }
    }

    fn why_never_due(&self, metric: &str) -> Option<String> {
        (self.run.why_never_due)().filter(|_| is_of_validation(metric))
    }

    /// Whether the run has validated, or done an epoch.
    pub(super) fn was_validated(&self) -> bool {
        self.run.was_validated || self.run.epoch > 0
    }

    /// The named validation set that is validated. `None` on the main one, and outside of the batches of a
    /// validation.
    #[must_use]
    pub fn validation_set(&self) -> Option<String> {
        self.run.metrics.sets.current()
    }

    /// The first device of the run.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.run.device
    }

    /// The model, as it trains. A clone shares the parameters' memory: while one is kept, an optimizer step
    /// cannot work in place.
    #[must_use]
    pub fn model(&self) -> M {
        self.run.learner.model()
    }

    /// The model in validation mode: it tracks no gradients, and layers like dropout do nothing.
    #[must_use]
    pub fn valid_model(&self) -> M {
        self.run.learner.model().valid()
    }

    /// The latest value of every numeric metric, by its full name (`val_loss`).
    ///
    /// burn computes metrics on another thread, beside the next step. This waits for it, so at every step it
    /// slows training down.
    #[must_use]
    pub fn metrics(&self) -> IndexMap<String, f64> {
        (self.run.read_metrics)()
    }

    /// Logs the value of a metric that [`Callback::scalars`](super::Callback::scalars) names. A tensor of one
    /// element is read on another thread, without a wait here.
    ///
    /// # Errors
    ///
    /// For a name that is not among them, and for a metric of the training during a validation, or the other
    /// way round.
    pub fn log(&mut self, name: &str, value: impl Into<ScalarValue>) -> CallbackResult {
        let Some((scalar, logged)) = self.scalars.find(name) else {
            return Err(
                format!("{name} is not among its `scalars`, which are {}", self.scalars.names()).into()
            );
        };
        if self.run.split != Some(scalar.split) {
            let of = match scalar.split {
                LoggedSplit::Training => "the training, and this is not a training batch or step",
                LoggedSplit::Validation => "the validation, and this is not the end of its batches",
            };
            return Err(format!("the metric {name} is of {of}").into());
        }
        let batch = match scalar.split {
            LoggedSplit::Training => usize::try_from(self.run.batch).unwrap_or(usize::MAX),
            // Of no batch: burn may still process those of the validation.
            LoggedSplit::Validation => usize::MAX,
        };
        logged.put(batch, value.into());
        Ok(())
    }

    /// Validates another model than the trained one, this time: one with averaged weights, for example. The
    /// metrics of this validation, and so what is best, are those of that model:
    /// [`CallbackState`](super::CallbackState) has how a checkpoint says so. The last call counts.
    pub fn validate_with(&mut self, model: M) {
        self.requests.validated = Some(model);
    }

    /// Whether the run validates.
    pub(super) fn validates(&self) -> bool {
        self.run.validates
    }

    /// Notes that this callback gives the model of each validation.
    ///
    /// # Errors
    ///
    /// When another one does: the metrics would be those of one, and not say of which.
    pub(super) fn claim_validations(&mut self) -> CallbackResult {
        if let Some(other) = &self.requests.validates_with {
            let reason = format!(
                "the run validates with the average of {other} already, and a validation uses one model: set with_validates(false) \
                 on one of the two"
            );
            return Err(reason.into());
        }
        self.requests.validates_with = Some(self.name.to_owned());
        Ok(())
    }

    /// Validates the trained model on a named validation set, this time, also where
    /// [`validate_with`](Self::validate_with) gives another one for the others.
    ///
    /// # Errors
    ///
    /// A name that no validation set has.
    pub fn validate_trained_on(&mut self, set: &str) -> CallbackResult {
        self.check_validation_set(set)?;
        self.requests.trained_on.push(set.to_owned());
        Ok(())
    }

    /// Checks the name of a validation set.
    pub(super) fn check_validation_set(&self, set: &str) -> CallbackResult {
        let known = self.run.metrics.sets.items();
        if known.contains_key(set) {
            return Ok(());
        }
        let known: Vec<String> = known.into_keys().collect();
        let reason = match known.is_empty() {
            true => "there is none with a name: add it with Trainer::validation_set".to_owned(),
            false => format!("the sets with a name are {}", known.join(", ")),
        };
        Err(format!("there is no validation set {set}: {reason}").into())
    }

    /// Whether [`stop`](Self::stop) ends the run now. Before `min_epochs` and `min_steps` it has no effect.
    /// In the last step of an epoch this tells of the step, and a stop counts at the epoch's end too.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        self.may_end_at(self.run.next_end)
    }

    /// How far the run is where it can end next.
    pub(super) fn end_position(&self) -> EndPosition {
        self.run.next_end
    }

    /// Whether a callback may end the run at this position, by the present settings.
    pub(super) fn may_end_at(&self, position: EndPosition) -> bool {
        (self.run.may_end_at)(position)
    }

    /// Ends the run after this step, or this validation, as if it had no more to train. The state is saved,
    /// and [`FitResult::outcome`](crate::FitResult::outcome) has the reason. Before `min_epochs` and
    /// `min_steps` it has no effect, as [`can_stop`](Self::can_stop) says. If a signal or a failure comes
    /// before the end, the saved state has the request, and the run that resumes ends with it.
    ///
    /// A callback that has ended a run, and that should not continue when it is started again, stops it again
    /// in [`on_fit_start`](super::Callback::on_fit_start). Where it does so by its
    /// [`state`](super::Callback::state), that has to tell whether it could stop then: a run that has
    /// continued would otherwise end when it is resumed.
    pub fn stop(&mut self, reason: impl Into<String>) {
        let (name, reason) = (self.name.to_owned(), reason.into());
        self.end(EndReason::Callback { name, reason });
    }

    /// The same, for a callback whose reason has a variant of its own. The first reason counts.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.requests.stop.get_or_insert(reason);
    }
}

impl<M: LearnerModel> fmt::Debug for CallbackContext<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackContext")
            .field("epoch", &self.run.epoch)
            .field("global_step", &self.run.global_step)
            .field("batch", &self.run.batch)
            .finish_non_exhaustive()
    }
}
