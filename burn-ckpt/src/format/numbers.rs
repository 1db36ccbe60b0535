//! How metrics are written as JSON: finite numbers as numbers, the others as the strings `NaN`, `inf` and
//! `-inf`.
//!
//! Functions for `#[serde(with = "..")]`, and the form of one value.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One metric's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => to.serialize_f64(self.0),
            false => to.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfNumber;
        impl Visitor<'_> for OfNumber {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "NaN" => Ok(Number(f64::NAN)),
                    "inf" => Ok(Number(f64::INFINITY)),
                    "-inf" => Ok(Number(f64::NEG_INFINITY)),
                    text => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        from.deserialize_any(OfNumber)
    }
}

/// Writes the metrics.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<S: Serializer>(metrics: &IndexMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(metrics.iter().map(|(name, value)| (name, Number(*value))))
}

/// Reads the metrics.
///
/// # Errors
///
/// A value that is neither a number nor one of the three strings, with the metric's name.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, f64>, D::Error> {
    struct OfMetrics;
    impl<'de> Visitor<'de> for OfMetrics {
        type Value = IndexMap<String, f64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("metrics with their values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
            let mut metrics = IndexMap::new();
            while let Some(name) = values.next_key::<String>()? {
                let named = |error| serde::de::Error::custom(format!("the metric {name:?}: {error}"));
                let Number(value) = values.next_value().map_err(named)?;
                metrics.insert(name, value);
            }
            Ok(metrics)
        }
    }
    from.deserialize_map(OfMetrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Metrics(#[serde(with = "super")] IndexMap<String, f64>);

    #[test]
    fn non_finite_metrics_are_strings_and_come_back() {
        let metrics = IndexMap::from([
            ("a".to_owned(), f64::NAN),
            ("b".to_owned(), f64::INFINITY),
            ("c".to_owned(), f64::NEG_INFINITY),
            ("d".to_owned(), 0.1),
        ]);
        let text = serde_json::to_string(&Metrics(metrics.clone())).unwrap();
        assert_eq!(text, r#"{"a":"NaN","b":"inf","c":"-inf","d":0.1}"#);
        let Metrics(back) = serde_json::from_str(&text).unwrap();
        assert!(back["a"].is_nan());
        assert_eq!(back.keys().collect::<Vec<_>>(), metrics.keys().collect::<Vec<_>>());
        assert_eq!((back["b"], back["c"], back["d"]), (f64::INFINITY, f64::NEG_INFINITY, 0.1));
        let error = serde_json::from_str::<Metrics>(r#"{"a":1,"b":"high"}"#).unwrap_err().to_string();
        assert!(error.contains(r#"the metric "b": invalid value: string "high""#), "{error}");
    }
}
