//! Whether a metric has improved: what early stopping and the plateau have in common.

use burn::train::LearnerModel;
use burn_ckpt::retention::MetricMode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::callbacks::callback::Restored;
use crate::callbacks::context::CallbackContext;
use crate::error::CallbackResult;
use crate::metrics::is_of_validation;
use crate::state::callback_state::CallbackState;
use crate::state::position::EndPosition;
use crate::strategy::MetricConfig;

/// Version of the stored state. The first had neither what was looked at nor when.
const VERSION: u32 = 2;

/// A metric, and since when it has not improved.
#[derive(Debug, Clone)]
pub(super) struct MetricWatch {
    /// Until it is found among the registered ones, as it was given.
    metric: MetricConfig,
    mode: Option<MetricMode>,
    min_delta: f64,
    pub(super) counts: WatchCounts,
}

/// What resumes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct WatchCounts {
    /// `None` before the first value that is a number.
    #[serde(with = "as_text")]
    best: Option<f64>,
    /// The looks since then.
    pub(super) since_best: u64,
    /// The metric's full name, once it is found.
    #[serde(default)]
    metric: Option<String>,
    #[serde(default)]
    mode: Option<MetricMode>,
    /// Where the last look was.
    #[serde(default)]
    looked_at: Option<EndPosition>,
}

impl WatchCounts {
    /// Why they say nothing of this metric. `None` where they do, or where an earlier version has stored
    /// them.
    fn of_another(&self, name: &str, mode: MetricMode) -> Option<String> {
        let stored = (self.metric.as_deref()?, self.mode?);
        let said = |(name, mode): (&str, MetricMode)| match mode {
            MetricMode::Min => format!("{name} (lower is better)"),
            MetricMode::Max => format!("{name} (higher is better)"),
        };
        let now = (name, mode);
        (stored != now).then(|| format!("its state is of {}, and it watches {} now", said(stored), said(now)))
    }
}

/// A number as text: JSON has none that is infinite.
pub(super) mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::callbacks::built_in) fn serialize<S: Serializer>(
        value: &Option<f64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    pub(in crate::callbacks::built_in) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<f64>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// What a look at the metric shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Better,
    NotBetter,
}

impl MetricWatch {
    pub(super) fn new(metric: MetricConfig, mode: Option<MetricMode>, min_delta: f64) -> Self {
        Self { metric, mode, min_delta, counts: WatchCounts::default() }
    }

    pub(super) fn with_mode(self, mode: MetricMode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    pub(super) fn with_min_delta(self, min_delta: f64) -> Self {
        Self { min_delta, ..self }
    }

    /// In which direction the metric is better.
    pub(super) fn mode(&self) -> Option<MetricMode> {
        self.mode
    }

    /// The metric's full name.
    pub(super) fn metric(&self) -> &str {
        &self.metric.name
    }

    /// The metric's full name among the registered ones, and in which direction it is better.
    fn find<M: LearnerModel>(
        &self,
        context: &CallbackContext<'_, M>,
    ) -> CallbackResult<(String, MetricMode)> {
        let given = self
            .metric
            .mode_with(self.mode)
            .map_err(|reason| format!("its mode cannot be used: {reason}"))?;
        let (name, declared) = context.find_metric(&self.metric.name)?;
        match given.or(declared) {
            Some(mode) => Ok((name, mode)),
            None => {
                let unknown = "does not say whether lower or higher is better: set the mode";
                Err(format!("the metric {name} {unknown}").into())
            }
        }
    }

    /// Finds the metric among the registered ones, and in which direction it is better.
    pub(super) fn resolve<M: LearnerModel>(&mut self, context: &CallbackContext<'_, M>) -> CallbackResult {
        if !(self.min_delta >= 0.0 && self.min_delta.is_finite()) {
            return Err(format!("min_delta is {}: it must be at least 0", self.min_delta).into());
        }
        let (name, mode) = self.find(context)?;
        if let Some(why) = context.why_never_logged(&name) {
            let reason =
                format!("the metric {name} is of the validation, {why}: take a metric of the training");
            return Err(reason.into());
        }
        context.warn_if_never_due(&name);
        self.mode = Some(mode);
        (self.counts.metric, self.counts.mode) = (Some(name.clone()), self.mode);
        self.metric = MetricConfig::new(name);
        Ok(())
    }

    /// Whether the metric is looked at after each validation; one of the training is, at each epoch's end.
    pub(super) fn is_of_validation(&self) -> bool {
        is_of_validation(&self.metric.name)
    }

    /// Looks at the metric's present value.
    pub(super) fn compare<M: LearnerModel>(
        &mut self,
        context: &CallbackContext<'_, M>,
    ) -> CallbackResult<Comparison> {
        let name = &self.metric.name;
        let value = context.metrics().get(name).copied();
        let Some(value) = value.filter(|_| context.is_logged(name)) else {
            let split = if is_of_validation(name) { "validation" } else { "training" };
            return Err(format!(
                "the metric {name} was not logged: register a numeric metric for the {split}"
            )
            .into());
        };
        self.counts.looked_at = Some(context.end_position());
        Ok(self.note(value))
    }

    /// Whether the run could have ended at the last look. An earlier version does not say where it was.
    pub(super) fn could_end<M: LearnerModel>(&self, context: &CallbackContext<'_, M>) -> bool {
        self.counts.looked_at.is_none_or(|position| context.may_end_at(position))
    }

    /// Whether a value is NaN, or infinite in the bad direction.
    pub(super) fn is_bad(&self, value: f64) -> bool {
        let worst = if self.mode == Some(MetricMode::Max) { f64::NEG_INFINITY } else { f64::INFINITY };
        value.is_nan() || value == worst
    }

    /// What a callback stores: the counts, and a value of its own.
    pub(super) fn state<T: Serialize>(&self, own: T) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(VERSION).with_value(&(&self.counts, own))?))
    }

    /// Puts that back, where it is of the same metric. A checkpoint that has none was saved without this
    /// callback, which has missed the validations that are done.
    pub(super) fn restore<M: LearnerModel, T: DeserializeOwned>(
        &mut self,
        own: &mut T,
        context: &CallbackContext<'_, M>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        let Some(state) = state else {
            let reason = "the checkpoint was saved without it".to_owned();
            return Ok(if context.was_validated() {
                Restored::FromStart(reason)
            } else {
                Restored::Complete
            });
        };
        let stored: (WatchCounts, T) = state.up_to_version(VERSION)?.value()?;
        // A metric that is not found is an error of the start.
        let another = self.find(context).ok().and_then(|(name, mode)| stored.0.of_another(&name, mode));
        if let Some(reason) = another {
            return Ok(Restored::FromStart(reason));
        }
        (self.counts, *own) = stored;
        Ok(Restored::Complete)
    }

    fn note(&mut self, value: f64) -> Comparison {
        if self.is_bad(value) {
            self.counts.since_best += 1;
            return Comparison::NotBetter;
        }
        let lower = self.mode != Some(MetricMode::Max);
        let is_better = self.counts.best.is_none_or(|best| match lower {
            true => value < best - self.min_delta,
            false => value > best + self.min_delta,
        });
        if is_better {
            (self.counts.best, self.counts.since_best) = (Some(value), 0);
            return Comparison::Better;
        }
        self.counts.since_best += 1;
        Comparison::NotBetter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(mode: MetricMode, min_delta: f64, values: &[f64]) -> Vec<u64> {
        let mut watch = MetricWatch::new("val_loss".into(), Some(mode), min_delta);
        values
            .iter()
            .map(|value| {
                watch.note(*value);
                watch.counts.since_best
            })
            .collect()
    }

    #[test]
    fn a_metric_is_better_by_more_than_the_least_difference() {
        assert_eq!(looks(MetricMode::Min, 0.0, &[3.0, 2.0, 2.0, 2.5, 1.0]), [0, 0, 1, 2, 0]);
        assert_eq!(looks(MetricMode::Min, 0.5, &[3.0, 2.6, 2.4, 1.9]), [0, 1, 0, 1]);
        assert_eq!(looks(MetricMode::Max, 0.0, &[1.0, 2.0, 1.5, 3.0]), [0, 0, 1, 0]);
    }

    #[test]
    fn what_is_not_a_number_is_never_better() {
        let nan = f64::NAN;
        assert_eq!(looks(MetricMode::Min, 0.0, &[nan, 3.0, nan, f64::INFINITY, 2.0]), [1, 0, 1, 2, 0]);
        assert_eq!(looks(MetricMode::Max, 0.0, &[f64::NEG_INFINITY, 1.0, nan]), [1, 0, 1]);
    }
}
