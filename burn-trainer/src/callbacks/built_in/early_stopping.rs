//! Early stopping by a metric.

use burn::train::LearnerModel;
use burn_ckpt::retention::MetricMode;
use serde::{Deserialize, Serialize};

use super::metric_watch::{MetricWatch, as_text, without_state};
use crate::callbacks::callback::{Callback, Restored};
use crate::callbacks::context::CallbackContext;
use crate::callbacks::result::CallbackResult;
use crate::callbacks::state::CallbackState;

/// The callback's name.
pub(crate) const EARLY_STOPPING: &str = "early_stopping";
const VERSION: u32 = 1;

/// Ends the run when a metric has not improved over so many epochs. In the configuration:
/// `{"early_stopping": {"metric": "val_loss", "patience": 3}}`.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::callbacks::EarlyStopping;
///
/// let config = TrainerConfig::new().with_early_stopping(EarlyStopping::new("val_loss").with_patience(5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// The metric (`val_loss`).
    pub metric: String,
    /// Whether lower or higher is better; by default what the metric says of itself.
    #[serde(default)]
    pub mode: Option<MetricMode>,
    /// After how many epochs in a row without an improvement the run ends.
    #[serde(default = "default_patience")]
    pub patience: u64,
    /// By how much a value must be better than the best one to be an improvement.
    #[serde(default)]
    pub min_delta: f64,
    /// The run ends as soon as the metric is at least as good as this.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// Whether a value that is not a number (or infinite) ends the run; otherwise it is an epoch without an improvement.
    #[serde(default = "default_check_finite")]
    pub check_finite: bool,
}

fn default_patience() -> u64 {
    3
}

fn default_check_finite() -> bool {
    true
}

impl EarlyStopping {
    /// With a patience of 3 epochs.
    #[must_use]
    pub fn new(metric: impl Into<String>) -> Self {
        let metric = metric.into();
        Self {
            metric,
            mode: None,
            patience: default_patience(),
            min_delta: 0.0,
            threshold: None,
            check_finite: true,
        }
    }

    /// Sets whether lower or higher is better.
    #[must_use]
    pub fn with_mode(mut self, mode: MetricMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets after how many epochs without an improvement the run ends.
    #[must_use]
    pub fn with_patience(mut self, patience: u64) -> Self {
        self.patience = patience;
        self
    }

    /// Sets by how much a value must be better.
    #[must_use]
    pub fn with_min_delta(mut self, min_delta: f64) -> Self {
        self.min_delta = min_delta;
        self
    }

    /// Sets a value that is good enough.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Sets whether a value that is not finite ends the run.
    #[must_use]
    pub fn with_check_finite(mut self, check_finite: bool) -> Self {
        self.check_finite = check_finite;
        self
    }
}

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
        let watch = MetricWatch::new(&settings.metric, settings.mode, settings.min_delta);
        Self { settings, watch, last: LastValue::default() }
    }

    /// Why the run ends now, by what was seen so far and the present settings.
    fn reason(&self) -> Option<String> {
        let (metric, since) = (self.watch.metric(), self.watch.counts.since_best);
        if let Some(value) = self.last.0 {
            if self.settings.check_finite && self.watch.is_bad(value) {
                return Some(format!("{metric} is {value}"));
            }
            let is_good = |threshold: &f64| match self.watch.mode() {
                Some(MetricMode::Max) => value >= *threshold,
                _ => value <= *threshold,
            };
            if let Some(threshold) = self.settings.threshold.filter(is_good) {
                return Some(format!("{metric} is {value}, and {threshold} is good enough"));
            }
        }
        (since >= self.settings.patience).then(|| format!("{metric} has not improved for {since} epochs"))
    }
}

impl<M: LearnerModel> Callback<M> for EarlyStoppingCallback {
    fn name(&self) -> String {
        EARLY_STOPPING.to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.watch.resolve(context)?;
        self.reason().into_iter().for_each(|reason| context.stop(reason));
        Ok(())
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.watch.look(context)?;
        self.last = LastValue(context.metrics().get(self.watch.metric()).copied());
        self.reason().into_iter().for_each(|reason| context.stop(reason));
        Ok(())
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(VERSION).with_value(&(&self.watch.counts, self.last))?))
    }

    fn restore(
        &mut self,
        context: &mut CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        let Some(state) = state else {
            return Ok(without_state(context, "the checkpoint was saved without early stopping"));
        };
        (self.watch.counts, self.last) = state.up_to_version(VERSION)?.value()?;
        Ok(Restored::Whole)
    }
}
