//! Why a value is not of a type, and what the type takes instead, in the words of a user who sets it: serde
//! names types of Rust.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};
use serde::ser;

/// What a struct or a map takes.
const OBJECT: &str = "an object of JSON";

/// A value that a type cannot be made of, or that cannot be serialized.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    message: String,
    expected: Option<String>,
    /// The fields of a struct that was given another one.
    fields: &'static [&'static str],
}

impl ValueError {
    /// The fields of the struct that has not the field which it was given. Empty for any other error.
    pub fn fields(&self) -> &'static [&'static str] {
        self.fields
    }

    /// What the type takes (`a whole number from 0`, `a text`, `digits|mnist`), where serde says it.
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// Whether the type takes the fields of a struct, or a map.
    pub fn expects_object(&self) -> bool {
        self.expected() == Some(OBJECT)
    }

    fn instead_of(found: &str, expected: String) -> Self {
        Self { message: format!("expected {expected}, found {found}"), expected: Some(expected), fields: &[] }
    }

    fn without_types(message: String) -> Self {
        Self { message, expected: None, fields: &[] }
    }
}

impl ser::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        Self::without_types(message.to_string())
    }
}

impl de::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ser::Error::custom(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::instead_of(&found_in_words(found), in_words(&expected.to_string()))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::instead_of(&format!("a list of {length}"), in_words(&expected.to_string()))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::instead_of(&format!("{variant:?}"), expected.join("|"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("{field:?} is not one of its fields: {}", expected.join(", "));
        Self { message, expected: None, fields: expected }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::without_types(format!("the field {field:?} is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::without_types(format!("the field {field:?} is given twice"))
    }
}

/// A value as a user has written it.
fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// serde's word for a type, in plain English.
fn in_words(expected: &str) -> String {
    let words = match expected {
        "usize" | "u64" | "u128" => "a whole number from 0",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "isize" | "i8" | "i16" | "i32" | "i64" | "i128" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "a character" => "a text",
        "a sequence" => "a list",
        "a map" | "map" => OBJECT,
        "path string" => "a path",
        "variant identifier" | "field identifier" => "a name",
        "unit" | "()" => "null",
        other => {
            let nonzero = other.strip_prefix("a nonzero ").map(|_| "a whole number above 0".to_owned());
            let count = other.strip_prefix("a tuple of size ").or(other.strip_prefix("an array of length "));
            let list = count.map(|count| format!("a list of {count}"));
            let name = other.starts_with("variant index ").then(|| "a name".to_owned());
            let is_fields = other.starts_with("struct ") || other.contains("tagged enum ");
            let object = is_fields.then(|| OBJECT.to_owned());
            return nonzero.or(list).or(name).or(object).unwrap_or_else(|| other.to_owned());
        }
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use crate::hparams::serialized_value::SerializedValue;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        _size: (u8, f64),
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is only read")]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Kind {
        One(Settings),
    }

    fn said<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        T::deserialize(&SerializedValue::of(&json).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn no_type_of_rust_is_named() {
        for (message, expected) in [
            (said::<Settings>("5"), "expected an object of JSON, found 5"),
            (said::<Kind>("\"a\""), "expected an object of JSON, found the text \"a\""),
            (said::<Settings>("{}"), "the field \"_size\" is missing"),
            (said::<Kind>("{}"), "the field \"kind\" is missing"),
            (said::<Settings>("{\"size\": 1}"), "\"size\" is not one of its fields: _size"),
            (said::<Settings>("{\"_size\": [1]}"), "expected a list of 2, found a list of 1"),
            (said::<Settings>("{\"_size\": [300, 1]}"), "expected a whole number from 0 to 255, found 300"),
            (said::<Settings>("{\"_size\": [1, null]}"), "expected a number, found null"),
            (said::<std::num::NonZeroU32>("0"), "expected a whole number above 0, found 0"),
            (said::<Vec<bool>>("[[]]"), "expected true or false, found a list"),
            (said::<std::path::PathBuf>("{}"), "expected a path, found an object"),
        ] {
            assert_eq!(message, expected);
        }
    }
}
