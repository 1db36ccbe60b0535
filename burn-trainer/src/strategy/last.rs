//! Last: the newest state, at every epoch's end, every N steps, or after a time.

use std::path::PathBuf;
use std::time::Duration;

use burn_ckpt::plumbing::{FilenameTemplate, LAST_DIR};
use burn_ckpt::retention::{KeepRule, TopK};
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CheckpointOutput, SaveDecision, Strategy, named};
use crate::state::event::{RunProgress, TrainingEvent};

/// How the newest checkpoints are saved: see [`LastStrategy`].
///
/// ```
/// use std::time::Duration;
///
/// use burn_trainer::strategy::Last;
///
/// let last = Last::new().with_every_n_steps(1000).with_save_on_time_interval(Duration::from_secs(900));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Last {
    /// How many to keep: 1 by default, or `"all"`.
    pub topk: TopK,
    /// Save at the end of every epoch: on by default. With false, one of the next two is needed.
    pub every_epoch: bool,
    /// Save every N optimizer steps, counted from the run's start; off by default.
    pub every_n_steps: Option<u64>,
    /// Save at the first step after this time since this strategy last asked for a save; off by default. It
    /// is training time, which a resume continues. A save that was skipped or failed was asked for too.
    pub save_on_time_interval: Option<Interval>,
    /// Template of the file names: `epoch={epoch}-step={step}` by default.
    pub filename: String,
    /// Another directory: relative to the run's `checkpoint` directory, or absolute. `last` by default.
    pub dirpath: Option<PathBuf>,
    /// Keep a link `last.ckpt` to the newest: on by default.
    pub save_symlink: bool,
    /// Leave out optimizer and scheduler: off by default. A run cannot resume from such a checkpoint.
    pub save_weights_only: bool,
}

impl Default for Last {
    fn default() -> Self {
        Self {
            topk: TopK::Count(1),
            every_epoch: true,
            every_n_steps: None,
            save_on_time_interval: None,
            filename: FilenameTemplate::DEFAULT.to_owned(),
            dirpath: None,
            save_symlink: true,
            save_weights_only: false,
        }
    }
}

impl Last {
    /// Sets whether every epoch's end is saved.
    #[must_use]
    pub fn with_every_epoch(mut self, every_epoch: bool) -> Self {
        self.every_epoch = every_epoch;
        self
    }

    /// Saves every N optimizer steps.
    #[must_use]
    pub fn with_every_n_steps(mut self, steps: u64) -> Self {
        self.every_n_steps = Some(steps);
        self
    }

    /// Saves at the first step after this time since this strategy last asked for a save.
    #[must_use]
    pub fn with_save_on_time_interval(mut self, interval: impl Into<Interval>) -> Self {
        self.save_on_time_interval = Some(interval.into());
        self
    }
}

file_settings!(Last, LAST_DIR);

/// A length of time. In JSON a number of seconds, or text with units: `"90s"`, `"15m"`, `"1h 30m"`.
///
/// [`Last`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl From<Duration> for Interval {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// Keeps the newest states.
///
/// [`Last`] has an example of its configuration.
#[derive(Debug, Clone)]
pub struct LastStrategy {
    config: Last,
    /// The training time of the newest save.
    saved_at: Duration,
}

impl LastStrategy {
    /// The strategy; its clock counts the run's training time.
    #[must_use]
    pub fn new(config: Last) -> Self {
        Self { config, saved_at: Duration::ZERO }
    }

    fn is_due(&self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> bool {
        let by_step = self.config.every_n_steps.is_some_and(|n| progress.step.is_multiple_of(n));
        let by_time = self
            .config
            .save_on_time_interval
            .is_some_and(|interval| progress.training_time.saturating_sub(self.saved_at) >= interval.0);
        match event {
            TrainingEvent::StepEnd => by_step || by_time,
            TrainingEvent::EpochEnd => self.config.every_epoch || by_step || by_time,
            // A stopped run is resumed later, and a complete one is used: also where the triggers have missed
            // its end.
            TrainingEvent::Interrupted(_) | TrainingEvent::TrainingEnd => true,
            TrainingEvent::ValidationEnd | TrainingEvent::Exception(_) => false,
        }
    }
}

impl Strategy for LastStrategy {
    fn name(&self) -> String {
        named("last", self.config.dirpath.as_deref())
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(self.config.topk)
    }

    fn output(&self) -> CheckpointOutput {
        self.config.output("last")
    }

    fn resume(&mut self, newest: Option<Duration>) {
        self.saved_at = newest.unwrap_or_default();
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        if !self.is_due(event, progress) {
            return SaveDecision::Skip;
        }
        self.saved_at = progress.training_time;
        SaveDecision::Save { score: f64::NAN, reason: "last".to_owned() }
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Seconds(f64),
            Text(String),
        }
        let wrong = || {
            serde::de::Error::custom("a time interval is a number of seconds above 0, or a text like \"15m\"")
        };
        let duration = match Given::deserialize(from).map_err(|_| wrong())? {
            Given::Seconds(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
            Given::Text(text) => {
                let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
                Duration::try_from(signed).map_err(|_| wrong())?
            }
        };
        if duration.is_zero() { Err(wrong()) } else { Ok(Self(duration)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;

    fn saves(last: &mut LastStrategy, event: TrainingEvent<'_>, step: u64, seconds: u64) -> bool {
        let progress = RunProgress::at(0, step, Duration::from_secs(seconds), &IndexMap::new);
        last.decide(&event, &progress) != SaveDecision::Skip
    }

    #[test]
    fn every_n_steps_counts_from_the_runs_start() {
        let mut last = LastStrategy::new(Last::new().with_every_n_steps(10).with_every_epoch(false));
        let saved: Vec<u64> =
            (1..=40).filter(|step| saves(&mut last, TrainingEvent::StepEnd, *step, 0)).collect();
        assert_eq!(saved, [10, 20, 30, 40]);
        assert!(saves(&mut last, TrainingEvent::EpochEnd, 50, 0), "a step that ends an epoch counts too");
        assert!(!saves(&mut last, TrainingEvent::EpochEnd, 51, 0));
    }

    #[test]
    fn the_time_interval_is_counted_from_the_last_save() {
        let interval = Duration::from_secs(60);
        let mut last = LastStrategy::new(Last::new().with_save_on_time_interval(interval));
        assert!(!saves(&mut last, TrainingEvent::StepEnd, 1, 59));
        assert!(saves(&mut last, TrainingEvent::StepEnd, 2, 61));
        assert!(!saves(&mut last, TrainingEvent::StepEnd, 3, 120));
        assert!(
            saves(&mut last, TrainingEvent::EpochEnd, 4, 120),
            "an epoch's end saves, and restarts the clock"
        );
        assert!(!saves(&mut last, TrainingEvent::StepEnd, 5, 179));
        assert!(saves(&mut last, TrainingEvent::StepEnd, 6, 180));
    }

    #[test]
    fn a_resume_continues_the_interval() {
        let mut last = LastStrategy::new(Last::new().with_save_on_time_interval(Duration::from_secs(60)));
        last.resume(Some(Duration::from_secs(100)));
        assert!(!saves(&mut last, TrainingEvent::StepEnd, 1, 159));
        assert!(saves(&mut last, TrainingEvent::StepEnd, 2, 160));
    }

    #[test]
    fn the_end_is_saved_whatever_the_triggers_are() {
        let mut last = LastStrategy::new(Last::new().with_every_n_steps(10).with_every_epoch(false));
        assert!(!saves(&mut last, TrainingEvent::EpochEnd, 25, 0));
        assert!(saves(&mut last, TrainingEvent::TrainingEnd, 25, 0));
    }

    #[test]
    fn an_interval_is_seconds_or_a_text_with_units() {
        let seconds =
            |text: &str| serde_json::from_str::<Interval>(text).map(|interval| interval.0.as_secs());
        assert_eq!(seconds("90").unwrap(), 90);
        assert_eq!(seconds("\"15m\"").unwrap(), 900);
        assert_eq!(seconds("\"1h 30m\"").unwrap(), 5400);
        for wrong in ["0", "-1", "\"soon\"", "null", "\"-1s\""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
