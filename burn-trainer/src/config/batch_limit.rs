//! A number of batches of an epoch: counted, or a part of all.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Less than any part of a batch that is meant.
const ROUNDING: f64 = 1e-6;

/// How many batches of an epoch are used: a number of them, or a part of all. In JSON a whole number (`10`), or a number with a point
/// from 0 to 1 (`0.25`; `1.0` is all).
///
/// ```
/// use burn_trainer::config::BatchLimit;
///
/// let limit: BatchLimit = serde_json::from_str("0.25")?;
/// assert_eq!(limit, BatchLimit::Part(0.25));
/// assert_eq!(limit.of(10), 3);
/// assert_eq!(BatchLimit::Count(20).of(10), 10);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BatchLimit {
    /// So many batches, or all if there are fewer.
    Count(u64),
    /// This part of them, from 0 to 1. A part of a batch counts as a whole one.
    Part(f64),
}

impl BatchLimit {
    /// The number of batches, of so many.
    #[must_use]
    pub fn of(self, batches: u64) -> u64 {
        match self {
            Self::Count(count) => count.min(batches),
            // 0.07 of 100 are 7, and not the next number above 7.000000000000001.
            Self::Part(part) => ((batches as f64 * part - ROUNDING).ceil() as u64).min(batches),
        }
    }

    /// Why it cannot be used.
    pub(crate) fn wrong(self) -> Option<String> {
        match self {
            Self::Part(part) if !(0.0..=1.0).contains(&part) => {
                Some(format!("{part} is not a part from 0.0 to 1.0; a number of batches is a whole number"))
            }
            _ => None,
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        match self {
            Self::Count(count) => count == 0,
            Self::Part(part) => part == 0.0,
        }
    }
}

impl From<u64> for BatchLimit {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for BatchLimit {
    fn from(part: f64) -> Self {
        Self::Part(part)
    }
}

impl Serialize for BatchLimit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => to.serialize_u64(*count),
            Self::Part(part) => to.serialize_f64(*part),
        }
    }
}

impl<'de> Deserialize<'de> for BatchLimit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Count(u64),
            Part(f64),
        }
        match Given::deserialize(from) {
            Ok(Given::Count(count)) => Ok(Self::Count(count)),
            Ok(Given::Part(part)) => Ok(Self::Part(part)),
            Err(_) => Err(D::Error::custom(
                "it is a number of batches (10), or a part of all of them with a point (0.25)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_count_and_others_are_parts() {
        let read = |json: &str| serde_json::from_str::<BatchLimit>(json);
        assert_eq!(read("1").unwrap(), BatchLimit::Count(1));
        assert_eq!(read("1.0").unwrap(), BatchLimit::Part(1.0));
        for wrong in ["-1", "\"all\"", "null", "[1]"] {
            let limit = read(wrong);
            assert!(limit.is_err() || limit.unwrap().wrong().is_some(), "{wrong}");
        }
        for limit in [BatchLimit::Count(7), BatchLimit::Part(0.5), BatchLimit::Part(1.0)] {
            assert_eq!(read(&serde_json::to_string(&limit).unwrap()).unwrap(), limit);
        }
    }

    #[test]
    fn a_part_is_rounded_up_and_nothing_is_more_than_all() {
        let of = |part: f64| [0, 1, 3, 10].map(|batches| BatchLimit::Part(part).of(batches));
        assert_eq!(of(0.0), [0, 0, 0, 0]);
        assert_eq!(of(0.1), [0, 1, 1, 1]);
        assert_eq!(of(0.5), [0, 1, 2, 5]);
        assert_eq!(of(1.0), [0, 1, 3, 10]);
        assert_eq!(BatchLimit::Part(0.07).of(100), 7);
        assert_eq!(BatchLimit::Count(4).of(3), 3);
    }
}
