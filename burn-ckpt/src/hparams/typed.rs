//! Hyperparameters: from the JSON in a checkpoint's header to the type that a model is built from.
//!
//! If the type has changed since the checkpoint was written, the error names the field. No value is dropped
//! or invented silently.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::hparams::dropped_fields::dropped_fields;
use crate::hparams::serialized_value::SerializedValue;

/// Converts the hyperparameters of a checkpoint to their type. Fields that the type does not know must be
/// null.
pub(crate) fn typed<H: Serialize + DeserializeOwned>(path: &Path, hparams: &Value) -> Result<H> {
    let type_name = short_name(std::any::type_name::<H>());
    let fail = |reason: String, source| {
        let (path, type_name) = (path.to_path_buf(), type_name.clone());
        Error::Hparams { path, type_name, reason, source }
    };
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    // `Value::take` in `update_hparams_json` leaves a null behind.
    let mut add_unknown = |field: serde_ignored::Path<'_>| match place(hparams, &field) {
        (_, Some(Value::Null)) => {}
        (name, _) => unknown.push(name),
    };
    let with_unknown = serde_ignored::Deserializer::new(hparams, &mut add_unknown);
    let typed = H::deserialize(serde_path_to_error::Deserializer::new(with_unknown, &mut track));
    let typed = typed.map_err(|error| {
        let field = track.path().to_string();
        match field.as_str() {
            _ if hparams.is_null() => fail("the checkpoint has none".to_owned(), None),
            "." => fail("a field is invalid".to_owned(), Some(error)),
            // As numbers that are not finite were once saved.
            field if error.to_string().contains("invalid type: null") => {
                let hint = "null stands for a number that is not finite, or for None";
                fail(format!("the field `{field}` is invalid ({hint})"), Some(error))
            }
            field => fail(format!("the field `{field}` is invalid"), Some(error)),
        }
    })?;
    if unknown.is_empty() {
        unknown = dropped_fields(hparams, &typed);
    }
    if let Some(field) = overflown(hparams, &typed) {
        return Err(fail(format!("the field `{field}` has a number that is too large for its type"), None));
    }
    match unknown.first() {
        None => Ok(typed),
        Some(field) => {
            let more = match unknown.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Err(fail(format!("the checkpoint has a field `{field}`{more}, which the type lacks"), None))
        }
    }
}

/// The name of a field that the type lacks, as the JSON has it, and its value. `Some` and a newtype are not
/// in the JSON; a variant of an enum is there as the only key of an object.
fn place<'a>(root: &'a Value, path: &serde_ignored::Path<'_>) -> (String, Option<&'a Value>) {
    use serde_ignored::Path;
    let below = |(name, value): (String, Option<&'a Value>), key: &str| {
        let found = value.and_then(|value| at(value, key).or_else(|| at(of_variant(value)?, key)));
        (if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }, found)
    };
    match path {
        Path::Root => (String::new(), Some(root)),
        Path::Seq { parent, index } => below(place(root, parent), &index.to_string()),
        Path::Map { parent, key } => below(place(root, parent), key),
        Path::Some { parent } | Path::NewtypeStruct { parent } => place(root, parent),
        Path::NewtypeVariant { parent } => {
            let (name, value) = place(root, parent);
            (name, value.and_then(of_variant))
        }
    }
}

/// What is in the only field of an object.
fn of_variant(value: &Value) -> Option<&Value> {
    value.as_object().filter(|fields| fields.len() == 1)?.values().next()
}

/// The value at a path of keys and numbers, separated by dots.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })
}

/// A field whose number became infinite in its type, as 1e308 does in an f32.
fn overflown(hparams: &Value, typed: &impl Serialize) -> Option<String> {
    let (field, _) = SerializedValue::of(typed).ok()?.lost_in_json()?;
    at(hparams, &field).is_some_and(Value::is_number).then_some(field)
}

/// A type's name without its modules: `my::model::Config<a::B>` is `Config<B>`.
fn short_name(name: &str) -> String {
    let mut short = String::new();
    for part in name.split_inclusive(['<', '>', ',', ' ', '(', ')', '[', ']']) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_short() {
        assert_eq!(short_name("my::model::Config"), "Config");
        assert_eq!(short_name("my::model::Config<a::B, c::D<e::F>>"), "Config<B, D<F>>");
        assert_eq!(short_name("alloc::vec::Vec<my::Config>"), "Vec<Config>");
        assert_eq!(short_name("()"), "()");
    }
}
