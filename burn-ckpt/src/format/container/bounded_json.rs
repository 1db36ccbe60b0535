//! JSON within limits: its values are counted before any of them is made.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::format::container::limits::{MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_VALUES};

/// Parses JSON of at most this many values (each number, text, list, object and member counts).
///
/// # Errors
///
/// A text that says what is wrong.
pub fn parse<T: DeserializeOwned>(json: &[u8], most_values: usize) -> Result<T, JsonError> {
    check(json, most_values)?;
    serde_json::from_slice(json).map_err(JsonError::Invalid)
}

/// Why JSON cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It has more values than allowed.
    #[error("it has more than {0} values")]
    TooMany(usize),
    /// It is nested deeper than allowed.
    #[error("it is nested more than {MAX_JSON_DEPTH} deep")]
    TooDeep,
    /// It has more of something than allowed.
    #[error("it has more than {most} {what}")]
    OverLimit {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        most: usize,
    },
    /// It is not JSON, or of another form.
    #[error(transparent)]
    Invalid(serde_json::Error),
}

impl JsonError {
    /// Whether the text is JSON, and says something else than what is wanted.
    #[must_use]
    pub fn is_of_another_form(&self) -> bool {
        matches!(self, Self::Invalid(error) if error.classify() == Category::Data)
    }
}

/// Checks JSON that a checkpoint keeps as it is (hyperparameters, a state): a reader takes as many bytes and
/// values.
///
/// # Errors
///
/// For each limit that the text exceeds.
pub fn check_kept(json: &str) -> Result<(), JsonError> {
    match json.len() as u64 > MAX_JSON_BYTES {
        true => Err(JsonError::OverLimit { what: "bytes", most: MAX_JSON_BYTES as usize }),
        false => check(json.as_bytes(), MAX_JSON_VALUES),
    }
}

/// Counts the values of a text without parsing it. What is not JSON passes, and fails when it is parsed.
pub fn check(json: &[u8], most_values: usize) -> Result<(), JsonError> {
    let (mut depth, mut values, mut place) = (0_usize, 1_usize, 0);
    while place < json.len() {
        match json[place] {
            b'"' => place = end_of_text(json, place + 1),
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            // An object's member takes more memory than a list's element: it counts as two.
            b',' | b':' => values += 1,
            _ => {}
        }
        if values > most_values {
            return Err(JsonError::TooMany(most_values));
        }
        if depth > MAX_JSON_DEPTH {
            return Err(JsonError::TooDeep);
        }
        place += 1;
    }
    Ok(())
}

/// The place of the quote that ends a text which begins at a place; the length of the JSON if none does.
///
/// Most of a long JSON is texts. This is a loop and not an iterator, as are those that call it: without
/// optimisation an iterator takes three times as long, and a hostile file is to be an error within a second
/// there too.
pub(super) fn end_of_text(json: &[u8], mut place: usize) -> usize {
    while place < json.len() {
        match json[place] {
            b'"' => return place,
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn more_values_than_allowed_are_an_error_before_they_are_made() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert!(parse::<Value>(list(9).as_bytes(), 10).is_ok());
        assert!(matches!(parse::<Value>(list(10).as_bytes(), 10), Err(JsonError::TooMany(10))));
        let members = br#"{"a":1,"b":2}"#;
        assert!(parse::<Value>(members, 5).is_ok());
        assert!(matches!(parse::<Value>(members, 4), Err(JsonError::TooMany(4))));
        let objects = r#"[{},{},{},{}]"#;
        assert!(matches!(parse::<Value>(objects.as_bytes(), 6), Err(JsonError::TooMany(6))));
        // What stands in a text does not count.
        assert!(parse::<Value>(br#"["[[[[,,,,,,\",,,\\"]"#, 3).is_ok());
    }

    #[test]
    fn json_that_is_nested_too_deep_is_an_error() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse::<Value>(nested(MAX_JSON_DEPTH).as_bytes(), 1000).is_ok());
        let deeper = nested(MAX_JSON_DEPTH + 1);
        assert!(matches!(parse::<Value>(deeper.as_bytes(), 1000), Err(JsonError::TooDeep)));
        assert!(matches!(parse::<Value>(b"[", 10), Err(JsonError::Invalid(_))));
    }
}
