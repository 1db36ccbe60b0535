//! How metrics are written as JSON: finite numbers as numbers, the others as the strings `NaN`, `inf` and
//! `-inf`.
//!
//! Functions for `#[serde(with = "..")]`.

use indexmap::IndexMap;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(String),
}

/// Writes the metrics.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<S: Serializer>(metrics: &IndexMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(metrics.iter().map(|(name, value)| {
        let number =
            if value.is_finite() { Number::Finite(*value) } else { Number::Other(value.to_string()) };
        (name, number)
    }))
}

/// Reads the metrics.
///
/// # Errors
///
/// A value that is neither a number nor one of the three strings.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, f64>, D::Error> {
    let numbers = IndexMap::<String, Number>::deserialize(from)?;
    let value = |name: &str, number: Number| match number {
        Number::Finite(value) => Ok(value),
        Number::Other(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(D::Error::custom(format!("the metric {name:?} is {text:?}, which is not a number"))),
        },
    };
    numbers.into_iter().map(|(name, number)| value(&name, number).map(|value| (name, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
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
        assert!(serde_json::from_str::<Metrics>(r#"{"a":"high"}"#).is_err());
    }
}
