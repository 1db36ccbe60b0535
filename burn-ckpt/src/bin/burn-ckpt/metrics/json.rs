//! Numbers and metrics as JSON, as the metadata of a checkpoint writes them.

use indexmap::IndexMap;
use serde_json::{Number, Value};

/// A number: `"NaN"`, `"inf"` and `"-inf"` where JSON has none.
pub fn json_number(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

/// Metrics by name.
pub fn json_metrics(metrics: &IndexMap<String, f64>) -> Value {
    metrics.iter().map(|(name, value)| (name.clone(), json_number(*value))).collect()
}
