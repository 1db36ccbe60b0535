//! The settings of early stopping. `callbacks` has what they do in a run.

use burn_ckpt::retention::MetricMode;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::strategy::MetricConfig;

/// Ends the run when a metric has not improved over `patience` validations (for a metric of the training:
/// epochs). In the configuration: `{"early_stopping": {"metric": "val_loss", "patience": 3}}`.
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
    /// The metric (`val_loss`): a name, or a [`MetricConfig`].
    pub metric: MetricConfig,
    /// Whether lower or higher is better, if `metric` does not say it; by default what the metric says of
    /// itself.
    #[serde(default)]
    pub mode: Option<MetricMode>,
    /// After how many validations in a row without an improvement the run ends.
    #[serde(default = "default_patience")]
    pub patience: u64,
    /// By how much a value must be better than the best one to be an improvement.
    #[serde(default)]
    pub min_delta: f64,
    /// The run ends as soon as the metric is at least as good as this.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// The run ends as soon as the metric is worse than this.
    #[serde(default)]
    pub divergence_threshold: Option<f64>,
    /// Whether a value that is NaN, or infinite in the bad direction, ends the run; otherwise it is a
    /// validation without an improvement.
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
    /// With a patience of 3 validations.
    #[must_use]
    pub fn new(metric: impl Into<MetricConfig>) -> Self {
        Self {
            metric: metric.into(),
            mode: None,
            patience: default_patience(),
            min_delta: 0.0,
            threshold: None,
            divergence_threshold: None,
            check_finite: true,
        }
    }

    /// Sets whether lower or higher is better.
    #[must_use]
    pub fn with_mode(mut self, mode: MetricMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets after how many validations without an improvement the run ends.
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

    /// Sets a value that a run does not recover from.
    #[must_use]
    pub fn with_divergence_threshold(mut self, threshold: f64) -> Self {
        self.divergence_threshold = Some(threshold);
        self
    }

    /// Sets whether a value that is not finite ends the run.
    #[must_use]
    pub fn with_check_finite(mut self, check_finite: bool) -> Self {
        self.check_finite = check_finite;
        self
    }

    /// Checks what shows before metrics are known.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the first setting that cannot be used.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { metric, mode, patience, min_delta, .. } = self;
        if let Err(reason) = metric.mode_with(*mode) {
            return Err(Error::config("early_stopping.mode", reason));
        }
        if *patience == 0 {
            return Err(Error::config("early_stopping.patience", "it must be at least 1 validation"));
        }
        if !(*min_delta >= 0.0 && min_delta.is_finite()) {
            let reason = format!("{min_delta} is not a number of at least 0");
            return Err(Error::config("early_stopping.min_delta", reason));
        }
        let thresholds = [
            ("early_stopping.threshold", self.threshold),
            ("early_stopping.divergence_threshold", self.divergence_threshold),
        ];
        for (setting, threshold) in thresholds {
            // The metadata, which a resume can read, would have none.
            if let Some(threshold) = threshold.filter(|threshold| !threshold.is_finite()) {
                return Err(Error::config(setting, format!("{threshold} is not a finite number")));
            }
        }
        Ok(())
    }
}
