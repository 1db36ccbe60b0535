//! The numbers of a report's curves as one compressed block, and how many of their digits are kept so that a
//! page stays small.
//!
//! `assets/data.js` reads the block and describes its bytes.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

/// Bits of a number behind the point, in IEEE 754's double precision.
const MANTISSA_BITS: u32 = 52;

/// How many bits of each number are kept, from all to few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precision(u32);

/// The least that a time has: with fewer bits several of 2,000 points would be at one place of an axis.
const TIMES: Precision = Precision(16);

impl Precision {
    /// The choices of a page, the most precise first.
    pub(super) const ALL: [Self; 4] = [Self(MANTISSA_BITS), Self(23), Self(16), Self(9)];

    /// Decimal digits that are right. `None` if none is lost.
    pub(super) fn digits(self) -> Option<u32> {
        // A bit is 0.30103 decimal digits.
        (self.0 < MANTISSA_BITS).then(|| (self.0 + 1) * 30_103 / 100_000)
    }

    /// The nearest number with so many bits.
    fn round(self, value: f64) -> f64 {
        let dropped = MANTISSA_BITS - self.0;
        if dropped == 0 || !value.is_finite() {
            return value;
        }
        let half = 1_u64 << (dropped - 1);
        let rounded = f64::from_bits((value.to_bits() + half) >> dropped << dropped);
        // The largest numbers would be rounded to infinity.
        if rounded.is_finite() { rounded } else { value }
    }
}

/// Where an array is in the block.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Place {
    at: usize,
    count: usize,
    /// Whether each number is stored as the difference to the one before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sums: bool,
}

/// Arrays of numbers, one after the other.
#[derive(Debug)]
pub(super) struct NumberBlock {
    precision: Precision,
    bytes: Vec<u8>,
}

impl NumberBlock {
    pub(super) fn new(precision: Precision) -> Self {
        Self { precision, bytes: Vec::new() }
    }

    /// Adds values, rounded to the block's precision.
    pub(super) fn values(&mut self, values: &[f64]) -> Place {
        let precision = self.precision;
        self.add(values.iter().map(|value| precision.round(*value)), false)
    }

    /// Adds times, with so many digits at least that those of neighbouring points differ.
    pub(super) fn times(&mut self, seconds: &[f64]) -> Place {
        let precision = self.precision.max(TIMES);
        self.add(seconds.iter().map(|seconds| precision.round(*seconds)), false)
    }

    /// Adds counts that grow, exactly, as long as they are below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "a step beyond 2^53 is not reached")]
    pub(super) fn counts(&mut self, counts: &[u64]) -> Place {
        let before = |place: usize| place.checked_sub(1).map_or(0, |before| counts[before]);
        let differences = (0..counts.len()).map(|place| counts[place] as f64 - before(place) as f64);
        self.add(differences, true)
    }

    /// The highest byte of each number first, then the next one of each: bytes that are alike are neighbours.
    fn add(&mut self, numbers: impl ExactSizeIterator<Item = f64> + Clone, sums: bool) -> Place {
        let place = Place { at: self.bytes.len(), count: numbers.len(), sums };
        for plane in 0..size_of::<f64>() {
            self.bytes.extend(numbers.clone().map(|number| number.to_be_bytes()[plane]));
        }
        place
    }

    /// The block as text.
    pub(super) fn into_text(self) -> std::io::Result<String> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.bytes)?;
        Ok(STANDARD.encode(encoder.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_number_has_the_digits_that_the_precision_says() {
        for precision in Precision::ALL {
            for value in [0.1, -1.0 / 3.0, 1e-300, 12_345.678_9, f64::MAX, 0.0] {
                let rounded = precision.round(value);
                let allowed = precision.digits().map_or(0.0, |digits| 10_f64.powi(-(digits as i32)));
                assert!((rounded - value).abs() <= allowed * value.abs(), "{value} became {rounded}");
            }
            assert!(precision.round(f64::NAN).is_nan());
            assert_eq!(precision.round(f64::NEG_INFINITY), f64::NEG_INFINITY);
        }
    }

    #[test]
    fn the_planes_are_the_bytes_of_the_numbers_in_their_order() {
        let mut block = NumberBlock::new(Precision::ALL[0]);
        let first = block.values(&[1.5]);
        let second = block.counts(&[3, 5]);
        assert_eq!((first.at, first.count, first.sums), (0, 1, false));
        assert_eq!((second.at, second.count, second.sums), (8, 2, true));
        let number = |at: usize, count: usize, index: usize| {
            let byte = |plane: usize| block.bytes[at + plane * count + index];
            f64::from_be_bytes(std::array::from_fn(byte))
        };
        assert_eq!([number(0, 1, 0), number(8, 2, 0), number(8, 2, 1)], [1.5, 3.0, 2.0]);
    }
}
