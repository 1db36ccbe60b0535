//! How many batches of an epoch are used: counted, or a fraction of all.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Less than any part of a batch that is meant.
const ROUNDING: f64 = 1e-6;

/// How many batches of an epoch are used: a number of them, or a fraction of all. In JSON a whole number
/// (`10`), or a number with a point from 0 to 1 (`0.25`; `1.0` is all).
///
/// ```
/// use burn_trainer::config::BatchLimit;
///
/// let limit: BatchLimit = serde_json::from_str("0.25")?;
/// assert_eq!(limit, BatchLimit::Fraction(0.25));
/// assert_eq!(limit.of(10), 3);
/// assert_eq!(BatchLimit::Count(20).of(10), 10);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BatchLimit {
    /// This number of batches, or all if there are fewer.
    Count(u64),
    /// This fraction of them, from 0 to 1. A part of a batch counts as a whole one.
    Fraction(f64),
}

impl BatchLimit {
    /// The number of batches, of those that there are.
    #[must_use]
    pub fn of(self, batches: u64) -> u64 {
        match self {
            Self::Count(count) => count.min(batches),
            // 0.07 of 100 are 7, and not the next number above 7.000000000000001.
            Self::Fraction(fraction) => {
                let least = u64::from(fraction > 0.0);
                ((batches as f64 * fraction - ROUNDING).ceil() as u64).max(least).min(batches)
            }
        }
    }

    /// The number of batches of a loader that says how many it has, if it is one of ours.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], which names the setting, for a fraction of a number that is unknown.
    pub(crate) fn of_loader(self, setting: &str, batches: Option<u64>) -> Result<u64> {
        match (self, batches) {
            (Self::Count(count), _) => Ok(count),
            (Self::Fraction(_), Some(batches)) => Ok(self.of(batches)),
            (Self::Fraction(_), None) => {
                let reason = "it is a fraction of all batches, and this loader does not say how many there are: give a number of \
                              batches, or take a loader of Trainer::loader";
                Err(Error::config(setting, reason))
            }
        }
    }

    /// Why it cannot be used.
    pub(crate) fn wrong(self) -> Option<String> {
        match self {
            Self::Fraction(fraction) if !(0.0..=1.0).contains(&fraction) => Some(format!(
                "{fraction} is not a fraction from 0.0 to 1.0; a number of batches is a whole number"
            )),
            _ => None,
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        match self {
            Self::Count(count) => count == 0,
            Self::Fraction(fraction) => fraction == 0.0,
        }
    }
}

impl From<u64> for BatchLimit {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for BatchLimit {
    fn from(fraction: f64) -> Self {
        Self::Fraction(fraction)
    }
}

impl Serialize for BatchLimit {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => to.serialize_u64(*count),
            Self::Fraction(fraction) => to.serialize_f64(*fraction),
        }
    }
}

impl<'de> Deserialize<'de> for BatchLimit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Count(u64),
            Fraction(f64),
        }
        match Given::deserialize(from) {
            Ok(Given::Count(count)) => Ok(Self::Count(count)),
            Ok(Given::Fraction(fraction)) => Ok(Self::Fraction(fraction)),
            Err(_) => Err(D::Error::custom(
                "it is a number of batches (10), or a fraction of all of them with a point (0.25)",
            )),
        }
    }
}

/// `limit_train_batches` and `overfit_batches`, of which at most one is set. The default: all batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TrainLimits {
    pub(super) train: Option<BatchLimit>,
    pub(super) overfit: Option<BatchLimit>,
}

impl TrainLimits {
    /// The first batches of each epoch; `None`: all.
    pub(crate) fn first(batches: Option<u64>) -> Self {
        Self { train: batches.map(BatchLimit::Count), overfit: None }
    }

    /// Whether each epoch has the same batches.
    pub(crate) fn repeats(self) -> bool {
        self.overfit.is_some()
    }

    /// The number of batches that are used, of a loader that may say how many it has. `None`: all.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a fraction of a number that is unknown.
    pub(crate) fn resolve(self, batches: Option<u64>) -> Result<Option<u64>> {
        match self.train {
            Some(limit) => limit.of_loader("limit_train_batches", batches).map(Some),
            None => self.overfit.map(|limit| limit.of_loader("overfit_batches", batches)).transpose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_count_and_others_are_fractions() {
        let read = |json: &str| serde_json::from_str::<BatchLimit>(json);
        assert_eq!(read("1").unwrap(), BatchLimit::Count(1));
        assert_eq!(read("1.0").unwrap(), BatchLimit::Fraction(1.0));
        for wrong in ["-1", "\"all\"", "null", "[1]"] {
            let limit = read(wrong);
            assert!(limit.is_err() || limit.unwrap().wrong().is_some(), "{wrong}");
        }
        for limit in [BatchLimit::Count(7), BatchLimit::Fraction(0.5), BatchLimit::Fraction(1.0)] {
            assert_eq!(read(&serde_json::to_string(&limit).unwrap()).unwrap(), limit);
        }
    }

    #[test]
    fn a_fraction_is_rounded_up_and_nothing_is_more_than_all() {
        let of = |fraction: f64| [0, 1, 3, 10].map(|batches| BatchLimit::Fraction(fraction).of(batches));
        assert_eq!(of(0.0), [0, 0, 0, 0]);
        assert_eq!(of(1e-9), [0, 1, 1, 1]);
        assert_eq!(of(0.1), [0, 1, 1, 1]);
        assert_eq!(of(0.5), [0, 1, 2, 5]);
        assert_eq!(of(1.0), [0, 1, 3, 10]);
        assert_eq!(BatchLimit::Fraction(0.07).of(100), 7);
        assert_eq!(BatchLimit::Count(4).of(3), 3);
    }
}
