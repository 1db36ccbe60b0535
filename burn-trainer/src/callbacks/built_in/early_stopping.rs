//! Early stopping by a metric.

use burn::train::LearnerModel;
use burn_ckpt::retention::MetricMode;
use serde::{Deserialize, Serialize};

use super::metric_watch::{MetricWatch, as_text};
use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::config::EarlyStopping;
use crate::error::CallbackResult;
use crate::process::progress::figures::count;
use crate::state::callback_state::CallbackState;
use crate::state::end_reason::EndReason;

/// The callback's name.
const EARLY_STOPPING: &str = "early_stopping";
/// [`EarlyStopping`] in a run.
pub(crate) struct EarlyStoppingCallback {
    settings: EarlyStopping,
    watch: MetricWatch,
    last: LastValue,
}

/// The metric's last value.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct LastValue(#[serde(with = "as_text")] Option<f64>);

impl EarlyStoppingCallback {
    pub(crate) fn new(settings: EarlyStopping) -> Self {
        let watch = MetricWatch::new(settings.metric.clone(), settings.mode, settings.min_delta);
        Self { settings, watch, last: LastValue::default() }
    }

    /// Why the run ends now, by what was seen so far and the present settings.
    fn reason(&self) -> Option<EndReason> {
        self.reason_in_words().map(EndReason::EarlyStopping)
    }

    fn reason_in_words(&self) -> Option<String> {
        let (metric, since) = (self.watch.metric(), self.watch.counts.since_best);
        if let Some(value) = self.last.0 {
            if self.settings.check_finite && self.watch.is_bad(value) {
                return Some(format!("{metric} is {value}"));
            }
            let is_max = self.watch.mode() == Some(MetricMode::Max);
            let is_good = |threshold: &f64| if is_max { value >= *threshold } else { value <= *threshold };
            if let Some(threshold) = self.settings.threshold.filter(is_good) {
                return Some(format!("{metric} is {value}, and {threshold} is good enough"));
            }
            let is_worse = |threshold: &f64| if is_max { value < *threshold } else { value > *threshold };
            if let Some(threshold) = self.settings.divergence_threshold.filter(is_worse) {
                return Some(format!(
                    "{metric} is {value}, which is worse than the divergence threshold {threshold}"
                ));
            }
        }
        let looks = if self.watch.is_of_validation() { "validation" } else { "epoch" };
        let reason = || format!("{metric} has not improved for {}", count(since, looks));
        (since >= self.settings.patience).then(reason)
    }

    /// Looks at the metric, and ends the run if it is time.
    fn compare<M: LearnerModel>(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.watch.compare(context)?;
        self.last = LastValue(context.metrics().get(self.watch.metric()).copied());
        self.reason().into_iter().for_each(|reason| context.end(reason));
        Ok(())
    }
}

impl<M: LearnerModel> Callback<M> for EarlyStoppingCallback {
    fn name(&self) -> String {
        EARLY_STOPPING.to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.watch.resolve(context)?;
        // Before `min_epochs` and `min_steps` the run did not end for it, and does not now.
        if self.watch.could_end(context) {
            self.reason().into_iter().for_each(|reason| context.end(reason));
        }
        Ok(())
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
        self.watch.state(self.last)
    }

    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        self.watch.restore(&mut self.last, context, state)
    }
}
