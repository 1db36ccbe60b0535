//! Fields of saved hyperparameters that their type drops where serde does not tell: below
//! `#[serde(flatten)]`, and in enums with an internal tag or none.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::hparams::serialized_value::SerializedValue;

/// How many fields are tried. A type that names more fields otherwise than they are saved gets no further
/// check.
const MAX_TRIES: usize = 64;

/// The dotted keys of fields that the type does not read. A field that is null counts as removed.
///
/// A field is dropped if the type, written again, lacks it or has another value, and if the type reads
/// whatever stands in its place. The second spares fields that are read under another name than they are
/// written (`alias`), are not written (`skip_serializing_if`), or are written in another form.
pub(super) fn dropped_fields<H: Serialize + DeserializeOwned>(stored: &Value, typed: &H) -> Vec<String> {
    let (Ok(stored), Ok(typed)) = (SerializedValue::of(stored), SerializedValue::of(typed)) else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    collect_changed("", &stored, &typed, &mut missing);
    // Not a type that reads JSON alone.
    if missing.is_empty() || H::deserialize(&stored).is_err() {
        return Vec::new();
    }
    missing.truncate(MAX_TRIES);
    missing.retain(|field| {
        let unreadable = stored.with(field, SerializedValue::Unreadable);
        unreadable.is_some_and(|unreadable| H::deserialize(&unreadable).is_ok())
    });
    missing
}

/// Adds the fields of `stored` that are not in `typed`, or have another value there.
fn collect_changed(
    place: &str,
    stored: &SerializedValue,
    typed: &SerializedValue,
    missing: &mut Vec<String>,
) {
    let (stored, typed) = (stored.inner(), typed.inner());
    let comparable = match (stored, typed) {
        (SerializedValue::Map(_), SerializedValue::Map(_)) => true,
        (SerializedValue::Seq(stored), SerializedValue::Seq(typed)) => stored.len() == typed.len(),
        _ => false,
    };
    if !comparable {
        if !place.is_empty() && differ(stored, typed) {
            missing.push(place.to_owned());
        }
        return;
    }
    let typed: std::collections::HashMap<_, _> = typed.parts().into_iter().collect();
    for (name, value) in stored.parts() {
        let field = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match typed.get(&name) {
            Some(typed) => collect_changed(&field, value, typed, missing),
            None if matches!(value, SerializedValue::Null) => {}
            None => missing.push(field),
        }
    }
}

/// Whether two single values differ, as far as they are of a kind. A type that keeps a number in fewer bits
/// does not change it.
fn differ(stored: &SerializedValue, typed: &SerializedValue) -> bool {
    match (stored, typed) {
        (SerializedValue::Bool(stored), SerializedValue::Bool(typed)) => stored != typed,
        (SerializedValue::Str(stored), SerializedValue::Str(typed)) => stored != typed,
        (stored, typed) => match (number(stored), number(typed)) {
            (Some(stored), Some(typed)) => stored as f32 != typed as f32,
            _ => false,
        },
    }
}

fn number(value: &SerializedValue) -> Option<f64> {
    match value {
        SerializedValue::Int(number) => Some(*number as f64),
        SerializedValue::Large(number) => Some(*number as f64),
        SerializedValue::Float(number) => Some(*number),
        _ => None,
    }
}
