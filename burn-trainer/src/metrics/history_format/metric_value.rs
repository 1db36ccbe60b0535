//! A metric's value in the JSON of a history.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value as `burn_ckpt::plumbing::numbers` writes it.
pub(super) struct MetricValue(pub(super) f64);

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => to.serialize_f64(self.0),
            false => to.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for MetricValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = MetricValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<MetricValue, E> {
                Ok(MetricValue(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<MetricValue, E> {
                Ok(MetricValue(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<MetricValue, E> {
                Ok(MetricValue(value as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MetricValue, E> {
                match text {
                    "NaN" => Ok(MetricValue(f64::NAN)),
                    "inf" => Ok(MetricValue(f64::INFINITY)),
                    "-inf" => Ok(MetricValue(f64::NEG_INFINITY)),
                    text => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        from.deserialize_any(Number)
    }
}
