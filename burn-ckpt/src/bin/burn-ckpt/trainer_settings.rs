//! The trainer's configuration as it stands in a checkpoint's metadata: its settings by their paths, and
//! which of them say what a run is called and where its files are, and not how it is trained.

use burn_ckpt::plumbing::{NAMES_AND_PLACES, leaves, with_named_strategies};
use serde_json::{Map, Value};

use crate::terminal::figures::{value, words};

/// The table of early stopping, and which of its fields say something only with another value than this.
const EARLY_STOPPING: &str = "early_stopping";
const USUAL_MIN_DELTA: f64 = 0.0;
const USUAL_CHECK_FINITE: bool = true;

/// The settings that say how a run is trained and saved, by their paths.
pub fn of_training(trainer_config: &Value) -> Map<String, Value> {
    let mut settings = settings(trainer_config);
    settings.retain(|path, _| !NAMES_AND_PLACES.contains(&first_part(path)));
    settings
}

/// All settings by the paths under which a program's `--set` changes them: `best.topk`.
pub fn settings(trainer_config: &Value) -> Map<String, Value> {
    flat(&with_named_strategies(trainer_config))
}

/// The first name in the path of a setting.
fn first_part(path: &str) -> &str {
    path.split('.').next().unwrap_or_default()
}

/// The values of a JSON document by their paths.
pub fn flat(json: &Value) -> Map<String, Value> {
    // A document that is null has no values.
    leaves(json)
        .into_iter()
        .filter(|(path, value)| !(path.is_empty() && value.is_null()))
        .map(|(path, value)| (path, value.clone()))
        .collect()
}

/// The value of a path among values by their paths: one, or the table of those below it.
pub fn at(values: &Map<String, Value>, path: &str) -> Option<Value> {
    if let Some(value) = values.get(path) {
        return Some(value.clone());
    }
    let inner = |(key, value): (&String, &Value)| {
        Some((key.strip_prefix(path)?.strip_prefix('.')?.to_owned(), value.clone()))
    };
    let table: Map<String, Value> = values.iter().filter_map(inner).collect();
    (!table.is_empty()).then_some(Value::Object(table))
}

/// A value for a cell: nothing as a dash, and a table by its fields that say something, its metric first:
/// `val_loss, patience 3`. `assets/format.js` of the report has the same words.
pub fn in_words(path: &str, setting: &Value) -> String {
    let Value::Object(fields) = setting else {
        return if setting.is_null() { "-".to_owned() } else { words(setting) };
    };
    let is_usual = |name: &str, field: &Value| {
        path == EARLY_STOPPING
            && match name {
                "min_delta" => field.as_f64() == Some(USUAL_MIN_DELTA),
                "check_finite" => *field == USUAL_CHECK_FINITE,
                _ => false,
            }
    };
    let said = fields.iter().filter(|(name, field)| !field.is_null() && !is_usual(name, field));
    let said: Vec<String> = said
        .map(|(name, field)| match name.as_str() {
            "metric" => value(field),
            name => format!("{name} {}", value(field)),
        })
        .collect();
    if said.is_empty() { value(setting) } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_said_by_its_fields_that_are_not_as_usual() {
        let early = |min_delta: f64, check_finite: bool| json!({ "metric": "val_loss", "mode": null, "patience": 3, "min_delta": min_delta, "check_finite": check_finite });
        for (path, setting, expected) in [
            ("early_stopping", early(0.0, true), "val_loss, patience 3"),
            ("early_stopping", early(0.5, false), "val_loss, patience 3, min_delta 0.5, check_finite false"),
            ("warmup", json!({ "steps": 10, "min_delta": 0.0 }), "steps 10, min_delta 0.0"),
            ("warmup", json!({ "steps": null }), "{\"steps\":null}"),
            ("warmup", Value::Null, "-"),
            ("warmup", json!(["a", "b"]), "a, b"),
        ] {
            assert_eq!(in_words(path, &setting), expected);
        }
    }

    #[test]
    fn a_path_has_one_value_or_the_table_below_it() {
        let values = flat(&json!({ "seed": 1, "early": { "metric": { "name": "a" } }, "earlier": 2 }));
        assert_eq!(at(&values, "seed"), Some(json!(1)));
        assert_eq!(at(&values, "early"), Some(json!({ "metric.name": "a" })));
        assert_eq!((at(&values, "earl"), at(&values, "")), (None, None));
    }
}
