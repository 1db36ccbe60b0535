//! A lower learning rate when a metric does not improve.

use burn::train::LearnerModel;
use burn_ckpt::retention::MetricMode;

use super::metric_watch::{Comparison, MetricWatch};
use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::error::CallbackResult;
use crate::learner_state::learning_rates::HOW_TO_SCALE;
use crate::state::callback_state::CallbackState;
use crate::strategy::MetricConfig;

/// The name, unless another one is given.
const NAME: &str = "reduce_on_plateau";

/// Multiplies the learning rate by a factor when a metric has not improved for more validations than its
/// patience (for a metric of the training: epochs), as PyTorch's
/// [`ReduceLROnPlateau`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html)
/// does. Other than there, any improvement counts unless [`with_min_delta`](Self::with_min_delta) is set.
///
/// The learner's scheduler, or its constant rate, has to be a [`scaled`](crate::lr_scheduler::scaled) one.
///
/// ```no_run
/// # use burn::train::LearnerModel;
/// # fn plateau<M: LearnerModel>(trainer: burn_trainer::Trainer<M>) -> burn_trainer::Trainer<M> {
/// use burn_trainer::callbacks::ReduceOnPlateau;
///
/// trainer.callback(ReduceOnPlateau::new("val_loss").with_factor(0.5).with_patience(2))
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReduceOnPlateau {
    name: String,
    watch: MetricWatch,
    factor: f64,
    patience: u64,
    cooldown: u64,
    min_scale: f64,
    /// Looks of the cooldown that are left.
    cooling: u64,
}

impl ReduceOnPlateau {
    /// By a factor of 0.1 after the eleventh validation in a row without an improvement. The metric is a
    /// name, or a [`MetricConfig`].
    #[must_use]
    pub fn new(metric: impl Into<MetricConfig>) -> Self {
        let watch = MetricWatch::new(metric.into(), None, 0.0);
        let name = NAME.to_owned();
        Self { name, watch, factor: 0.1, patience: 10, cooldown: 0, min_scale: 0.0, cooling: 0 }
    }

    /// Sets the name of the callback and of its state in checkpoints, `reduce_on_plateau` by default:
    /// letters, digits, `_` and `-`. Several in a run need different names. Each multiplies the rate that the
    /// others have left.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the factor, above 0 and below 1.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how many validations without an improvement are let pass: the rate falls after the next one.
    #[must_use]
    pub fn with_patience(mut self, validations: u64) -> Self {
        self.patience = validations;
        self
    }

    /// Sets how many validations after a fall are not counted.
    #[must_use]
    pub fn with_cooldown(mut self, validations: u64) -> Self {
        self.cooldown = validations;
        self
    }

    /// Sets below which part of the scheduler's rate it never falls: from 0, the default, to below 1.
    #[must_use]
    pub fn with_min_scale(mut self, scale: f64) -> Self {
        self.min_scale = scale;
        self
    }

    /// Sets whether lower or higher is better; by default what the metric says of itself.
    #[must_use]
    pub fn with_mode(mut self, mode: MetricMode) -> Self {
        self.watch = self.watch.with_mode(mode);
        self
    }

    /// Sets by how much a value must be better than the best one to be an improvement.
    #[must_use]
    pub fn with_min_delta(mut self, min_delta: f64) -> Self {
        self.watch = self.watch.with_min_delta(min_delta);
        self
    }
}

impl ReduceOnPlateau {
    /// Looks at the metric, and lowers the rate where it is on a plateau.
    fn compare<M: LearnerModel>(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let comparison = self.watch.compare(context)?;
        if self.cooling > 0 {
            self.cooling -= 1;
            self.watch.counts.since_best = 0;
        }
        if comparison == Comparison::Better || self.watch.counts.since_best <= self.patience {
            return Ok(());
        }
        let scale = context.learning_rate_scale();
        let next = (scale * self.factor).max(self.min_scale);
        if next < scale {
            log::info!("{} is on a plateau: the learning rate is scaled by {next}", self.watch.metric());
            context.scale_learning_rate(next / scale)?;
        }
        self.cooling = self.cooldown;
        self.watch.counts.since_best = 0;
        Ok(())
    }
}

impl<M: LearnerModel> Callback<M> for ReduceOnPlateau {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn watched_metrics(&self) -> Vec<String> {
        vec![self.watch.metric().to_owned()]
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(format!("its factor is {}: it must be above 0 and below 1", self.factor).into());
        }
        if !(0.0..1.0).contains(&self.min_scale) {
            let reason = format!("its min_scale is {}: it must be at least 0 and below 1", self.min_scale);
            return Err(reason.into());
        }
        if !context.can_scale_learning_rate() {
            return Err(HOW_TO_SCALE.into());
        }
        self.watch.resolve(context)
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if self.watch.is_of_validation() { self.compare(context) } else { Ok(()) }
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        if self.watch.is_of_validation() { Ok(()) } else { self.compare(context) }
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        context.warn_if_never_validated(self.watch.metric());
        Ok(())
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        self.watch.state(self.cooling)
    }

    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        self.watch.restore(&mut self.cooling, context, state)
    }
}
