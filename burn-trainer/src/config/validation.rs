//! When a run validates.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::progress::figures::span;
use crate::strategy::Interval;

/// Each choice, as an error offers it.
const CHOICES: &str = "every_n_steps (100), every (\"10m\"), epoch_fraction (0.25) and every_n_epochs (2)";

/// When a run validates: by one of the four. Without any, at the end of each epoch. In JSON
/// `{"every_n_steps": 100}`, `{"every": "10m"}`, `{"epoch_fraction": 0.25}` or `{"every_n_epochs": 2}`.
///
/// Best checkpoints, early stopping and [`ReduceOnPlateau`](crate::callbacks::ReduceOnPlateau) follow each
/// validation.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::Validation;
///
/// let config = TrainerConfig::new().with_validation(Validation::every_n_steps(100));
/// let same: TrainerConfig = serde_json::from_str(r#"{"validation": {"every_n_steps": 100}}"#)?;
/// assert_eq!(config, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Validation {
    /// After every N optimizer steps, counted from the run's start. At an epoch's end only if N steps are due
    /// there.
    pub every_n_steps: Option<u64>,
    /// After the first optimizer step at which this time has passed since the last validation, or since the
    /// run's start. It is training time, which a resume continues.
    pub every: Option<Interval>,
    /// After each such part of an epoch, counted from the epoch's start: `0.25` validates four times, `0.4`
    /// at 0.4 and at 0.8. It needs a loader of [`Trainer::loader`](crate::Trainer::loader), which says how
    /// many batches an epoch has.
    pub epoch_fraction: Option<f64>,
    /// At the end of every N-th epoch.
    pub every_n_epochs: Option<u64>,
}

/// The one that applies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ChosenValidation {
    EveryNSteps(u64),
    Every(Duration),
    EpochFraction(f64),
    EveryNEpochs(u64),
}

/// A schedule that a limit of the run ends before its first validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NeverDue {
    /// The field of [`Validation`].
    pub(crate) field: &'static str,
    pub(crate) value: Amount,
    /// The setting of the limit.
    pub(crate) limit: &'static str,
    pub(crate) max: Amount,
}

/// A setting's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    Number(u64),
    Time(Duration),
}

impl fmt::Display for NeverDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, limit, max } = self;
        write!(f, "validation.{field} is {value}, and {limit} is {max}")
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Time(time) => f.write_str(&span(time.as_secs_f64())),
        }
    }
}

impl Validation {
    /// After every N optimizer steps.
    #[must_use]
    pub fn every_n_steps(steps: u64) -> Self {
        Self { every_n_steps: Some(steps), ..Self::default() }
    }

    /// After the first optimizer step at which this time has passed since the last validation.
    #[must_use]
    pub fn every(time: impl Into<Interval>) -> Self {
        Self { every: Some(time.into()), ..Self::default() }
    }

    /// After each such part of an epoch.
    #[must_use]
    pub fn epoch_fraction(fraction: f64) -> Self {
        Self { epoch_fraction: Some(fraction), ..Self::default() }
    }

    /// At the end of every N-th epoch.
    #[must_use]
    pub fn every_n_epochs(epochs: u64) -> Self {
        Self { every_n_epochs: Some(epochs), ..Self::default() }
    }

    /// The fields that are set, with their names.
    fn given(&self) -> Vec<(&'static str, ChosenValidation)> {
        let Self { every_n_steps, every, epoch_fraction, every_n_epochs } = *self;
        let all = [
            ("every_n_steps", every_n_steps.map(ChosenValidation::EveryNSteps)),
            ("every", every.map(|interval| ChosenValidation::Every(interval.0))),
            ("epoch_fraction", epoch_fraction.map(ChosenValidation::EpochFraction)),
            ("every_n_epochs", every_n_epochs.map(ChosenValidation::EveryNEpochs)),
        ];
        all.into_iter().filter_map(|(name, chosen)| Some((name, chosen?))).collect()
    }

    /// The one that applies.
    pub(crate) fn chosen(&self) -> ChosenValidation {
        self.given().first().map_or(ChosenValidation::EveryNEpochs(1), |(_, chosen)| *chosen)
    }

    /// That a run with these limits ends before its first validation, as far as they say it.
    pub(crate) fn never_due(
        &self,
        max_epochs: u64,
        max_steps: Option<u64>,
        max_time: Option<Interval>,
    ) -> Option<NeverDue> {
        let numbers = |field, value: u64, limit, max: u64| {
            let (value, max) = (Amount::Number(value), Amount::Number(max));
            NeverDue { field, value, limit, max }
        };
        match self.chosen() {
            ChosenValidation::EveryNEpochs(epochs) => {
                (epochs > max_epochs).then(|| numbers("every_n_epochs", epochs, "max_epochs", max_epochs))
            }
            ChosenValidation::EveryNSteps(steps) => {
                let max = max_steps.filter(|max| steps > *max)?;
                Some(numbers("every_n_steps", steps, "max_steps", max))
            }
            ChosenValidation::Every(time) => {
                let max = max_time.filter(|max| time > max.0)?;
                let (value, max) = (Amount::Time(time), Amount::Time(max.0));
                Some(NeverDue { field: "every", value, limit: "max_time", max })
            }
            ChosenValidation::EpochFraction(_) => None,
        }
    }

    /// The setting that cannot be used, and why.
    pub(crate) fn wrong(&self) -> Option<(String, String)> {
        let given = self.given();
        if let [(one, _), (other, _), ..] = given[..] {
            let reason = format!("{one} and {other} are both set: choose one of {CHOICES}");
            return Some(("validation".to_owned(), reason));
        }
        let (name, chosen) = *given.first()?;
        let reason = match chosen {
            ChosenValidation::EpochFraction(fraction) if !(fraction > 0.0 && fraction <= 1.0) => {
                let more = if fraction > 1.0 { "; every_n_epochs counts whole epochs" } else { "" };
                format!("{fraction} is not a part of an epoch, which is above 0.0 and at most 1.0{more}")
            }
            ChosenValidation::EveryNSteps(0) | ChosenValidation::EveryNEpochs(0) => {
                "it must be above 0; limit_valid_batches = 0 leaves validation out".to_owned()
            }
            ChosenValidation::Every(Duration::ZERO) => "it must be above 0".to_owned(),
            _ => return None,
        };
        Some((format!("validation.{name}"), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Validation {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn one_of_four_is_chosen_and_none_is_the_end_of_each_epoch() {
        for (json, expected) in [
            ("{}", ChosenValidation::EveryNEpochs(1)),
            (r#"{"every_n_steps": 100}"#, ChosenValidation::EveryNSteps(100)),
            (r#"{"every": "10m"}"#, ChosenValidation::Every(Duration::from_secs(600))),
            (r#"{"epoch_fraction": 0.25}"#, ChosenValidation::EpochFraction(0.25)),
            (r#"{"every_n_epochs": 2}"#, ChosenValidation::EveryNEpochs(2)),
        ] {
            let validation = read(json);
            assert_eq!((validation.chosen(), validation.wrong()), (expected, None), "{json}");
            assert_eq!(read(&serde_json::to_string(&validation).unwrap()), validation);
        }
        let misspelt = serde_json::from_str::<Validation>(r#"{"every_n_step": 1}"#).unwrap_err().to_string();
        assert!(misspelt.contains("every_n_steps") && misspelt.contains("epoch_fraction"), "{misspelt}");
    }

    #[test]
    fn a_schedule_that_cannot_be_names_the_field_and_the_choices() {
        for (json, setting, reason) in [
            (r#"{"every_n_steps": 1, "every": "1s"}"#, "validation", "every_n_epochs (2)"),
            (r#"{"every_n_steps": 0}"#, "validation.every_n_steps", "above 0"),
            (r#"{"every_n_epochs": 0}"#, "validation.every_n_epochs", "above 0"),
            (r#"{"epoch_fraction": 0.0}"#, "validation.epoch_fraction", "above 0.0"),
            (r#"{"epoch_fraction": -0.5}"#, "validation.epoch_fraction", "above 0.0"),
            (r#"{"epoch_fraction": 1.5}"#, "validation.epoch_fraction", "every_n_epochs"),
        ] {
            let (named, why) = read(json).wrong().unwrap();
            assert!(named == setting && why.contains(reason), "{json}: {named}: {why}");
        }
        let (named, _) = Validation::epoch_fraction(f64::NAN).wrong().unwrap();
        assert_eq!(named, "validation.epoch_fraction");
        assert_eq!(Validation::every(Duration::ZERO).wrong().unwrap().0, "validation.every");
    }
}
