//! Best: after every validation (of a metric of the training: every epoch), if the metric's value is among
//! the best so far.

use std::path::PathBuf;

use burn_ckpt::plumbing::{BEST_DIR, FilenameTemplate};
use burn_ckpt::retention::{KeepRule, MetricMode, TopK};
use serde::{Deserialize, Serialize};

use super::{CheckpointOutput, MetricConfig, SaveDecision, Strategy, named};
use crate::metrics::is_of_validation;
use crate::state::event::{RunProgress, TrainingEvent};

/// How the checkpoints with the best values of a metric are saved: see [`BestStrategy`].
///
/// ```
/// use burn_trainer::strategy::Best;
///
/// let best = Best::new().with_topk(3).with_filename("{epoch:03}-{val_loss:.4}");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Best {
    /// The metric to watch (`val_loss`); the trainer's `primary_metric` by default.
    pub metric: Option<MetricConfig>,
    /// Whether lower (`"min"`) or higher (`"max"`) is better, if the metric is given without it; by default
    /// what the metric says of itself.
    pub mode: Option<MetricMode>,
    /// How many to keep: 1 by default, or `"all"`.
    pub topk: TopK,
    /// Template of the file names: `epoch={epoch}-step={step}` by default.
    pub filename: String,
    /// Another directory: relative to the run's `checkpoint` directory, or absolute. `best` by default.
    pub dirpath: Option<PathBuf>,
    /// Keep a link `best_<metric>.ckpt` to the very best: on by default.
    pub save_symlink: bool,
    /// Leave out optimizer and scheduler: off by default.
    pub save_weights_only: bool,
}

impl Default for Best {
    fn default() -> Self {
        Self {
            metric: None,
            mode: None,
            topk: TopK::Count(1),
            filename: FilenameTemplate::DEFAULT.to_owned(),
            dirpath: None,
            save_symlink: true,
            save_weights_only: false,
        }
    }
}

impl Best {
    /// Sets the metric to watch.
    #[must_use]
    pub fn with_metric(mut self, metric: impl Into<MetricConfig>) -> Self {
        self.metric = Some(metric.into());
        self
    }

    /// Sets whether lower or higher is better.
    #[must_use]
    pub fn with_mode(mut self, mode: MetricMode) -> Self {
        self.mode = Some(mode);
        self
    }
}

file_settings!(Best, BEST_DIR);

/// Keeps the checkpoints with the best values of one metric: of the validation after each validation, of the
/// training at the end of each epoch.
///
/// [`Best`] has an example of its configuration.
#[derive(Debug, Clone)]
pub struct BestStrategy {
    config: Best,
    metric: String,
    mode: MetricMode,
}

impl BestStrategy {
    /// The strategy for a metric by its full name (`val_loss`).
    #[must_use]
    pub fn new(config: Best, metric: impl Into<String>, mode: MetricMode) -> Self {
        Self { config, metric: metric.into(), mode }
    }
}

impl Strategy for BestStrategy {
    fn name(&self) -> String {
        named(&format!("best:{}", self.metric), self.config.dirpath.as_deref())
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Best(self.mode, self.config.topk)
    }

    fn output(&self) -> CheckpointOutput {
        self.config.output(format!("best_{}", self.metric))
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        // A metric of the training is an average over a part of an epoch before the epoch's end.
        let looks_at = match is_of_validation(&self.metric) {
            true => TrainingEvent::ValidationEnd,
            false => TrainingEvent::EpochEnd,
        };
        if *event != looks_at {
            return SaveDecision::Skip;
        }
        match progress.metrics().get(&self.metric) {
            Some(&score) => SaveDecision::Save { score, reason: "best".to_owned() },
            None => SaveDecision::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use std::time::Duration;

    #[test]
    fn only_a_validation_with_the_metric_is_worth_a_checkpoint() {
        let mut best = BestStrategy::new(Best::default(), "val_loss", MetricMode::Min);
        let mut decide = |event: TrainingEvent<'_>, metric: &str| {
            let metrics = || IndexMap::from([(metric.to_owned(), 0.5)]);
            best.decide(&event, &RunProgress::at(0, 1, Duration::ZERO, &metrics))
        };
        assert_eq!(decide(TrainingEvent::ValidationEnd, "train_loss"), SaveDecision::Skip);
        for event in [
            TrainingEvent::StepEnd,
            TrainingEvent::EpochEnd,
            TrainingEvent::Interrupted("x"),
            TrainingEvent::Exception("x"),
        ] {
            assert_eq!(decide(event, "val_loss"), SaveDecision::Skip, "{event:?}");
        }
        let save = SaveDecision::Save { score: 0.5, reason: "best".to_owned() };
        assert_eq!(decide(TrainingEvent::ValidationEnd, "val_loss"), save);
        let mut best = BestStrategy::new(Best::default(), "train_loss", MetricMode::Min);
        let metrics = || IndexMap::from([("train_loss".to_owned(), 0.5)]);
        let mut decide = |event| best.decide(&event, &RunProgress::at(0, 1, Duration::ZERO, &metrics));
        assert_eq!(decide(TrainingEvent::ValidationEnd), SaveDecision::Skip);
        assert_eq!(decide(TrainingEvent::EpochEnd), save);
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let error = serde_json::from_str::<Best>(r#"{"topkk": 3}"#).unwrap_err().to_string();
        assert!(error.contains("topkk") && error.contains("topk"), "{error}");
    }
}
