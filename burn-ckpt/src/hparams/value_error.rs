//! Why a value is not of a type: serde's message, and what the type expects, which lists of settings show.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};
use serde::ser;

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

    /// What the type expects in its place (`usize`, `a string`, `digits|mnist`), where serde says it.
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }
}

impl ser::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        Self { message: message.to_string(), expected: None, fields: &[] }
    }
}

impl de::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ser::Error::custom(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let message = format!("invalid type: {found}, expected {expected}");
        Self { message, expected: Some(expected), fields: &[] }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let message = format!("invalid value: {found}, expected {expected}");
        Self { message, expected: Some(expected), fields: &[] }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let list = expected.join("|");
        let message = format!("unknown variant {variant:?}, expected {list}");
        Self { message, expected: Some(list), fields: &[] }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("unknown field {field:?}, expected {}", expected.join(", "));
        Self { message, expected: None, fields: expected }
    }
}
