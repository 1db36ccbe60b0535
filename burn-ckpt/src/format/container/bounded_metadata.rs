//! The JSON of a checkpoint's metadata within limits. What describes tensors grows with the model, and takes
//! little memory for its length. Everything else is kept as free JSON, a value of which takes 200 bytes and
//! more: it is counted on its own.

use serde::de::DeserializeOwned;

use crate::format::container::bounded_json::{JsonError, end_of_text};
use crate::format::container::limits::{
    MAX_ENTRY_NAME_BYTES, MAX_FREE_JSON_BYTES, MAX_FREE_JSON_VALUES, MAX_JSON_DEPTH, MAX_METADATA_VALUES,
    MAX_STATE_TENSORS,
};

const TENSORS: &[u8] = b"tensors";
/// The longest text about a tensor: a name of which each byte is written as an escape.
const MAX_TEXT_BYTES: usize = 6 * MAX_ENTRY_NAME_BYTES;

/// Parses metadata. `depth` is that of the object with the key `tensors`: 1 for the outermost.
///
/// # Errors
///
/// For each limit that the text exceeds, and for text that is not the metadata's JSON.
pub(crate) fn parse_metadata<T: DeserializeOwned>(json: &[u8], depth: usize) -> Result<T, JsonError> {
    check_metadata(json, depth)?;
    serde_json::from_slice(json).map_err(JsonError::Invalid)
}

/// The same without parsing it, for metadata that is to be written.
///
/// # Errors
///
/// For each limit that the text exceeds.
pub(crate) fn check_metadata(json: &[u8], depth: usize) -> Result<(), JsonError> {
    let (mut scan, mut place) = (Scan { tensors_at: depth, ..Scan::default() }, 0);
    while place < json.len() {
        place = scan.next(json, place)?;
    }
    Ok(())
}

/// What is known of a text up to a byte.
#[derive(Default)]
struct Scan<'a> {
    tensors_at: usize,
    depth: usize,
    /// The last text.
    text: &'a [u8],
    /// Whether the next value is that of `tensors`.
    announced: bool,
    in_tensors: bool,
    tensors: usize,
    values: usize,
    free_values: usize,
    free_bytes: usize,
}

impl<'a> Scan<'a> {
    /// Looks at a byte, or at a whole text. Returns the place of the next.
    fn next(&mut self, json: &'a [u8], place: usize) -> Result<usize, JsonError> {
        let mut end = place + 1;
        match json[place] {
            b'"' => {
                let quote = end_of_text(json, end);
                self.text = &json[end..quote];
                if self.in_tensors {
                    within("bytes in a text", self.text.len(), MAX_TEXT_BYTES)?;
                }
                end = quote + 1;
            }
            b':' => {
                self.announced = !self.in_tensors && self.depth == self.tensors_at && self.text == TENSORS;
                self.count()?;
                self.count_free()?;
            }
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > MAX_JSON_DEPTH {
                    return Err(JsonError::TooDeep);
                }
                self.in_tensors |= std::mem::take(&mut self.announced);
                self.count()?;
                self.count_value()?;
            }
            b'}' | b']' => {
                self.in_tensors &= self.depth > self.tensors_at + 1;
                self.depth = self.depth.saturating_sub(1);
            }
            b',' => {
                self.announced = false;
                self.count()?;
                self.count_value()?;
            }
            _ => {}
        }
        if !self.in_tensors {
            self.free_bytes += end - place;
            within("bytes beside its tensors", self.free_bytes, MAX_FREE_JSON_BYTES)?;
        }
        Ok(end)
    }

    fn count(&mut self) -> Result<(), JsonError> {
        self.values += 1;
        if self.values >= MAX_METADATA_VALUES { Err(JsonError::TooMany(MAX_METADATA_VALUES)) } else { Ok(()) }
    }

    fn count_value(&mut self) -> Result<(), JsonError> {
        if self.in_tensors && self.depth == self.tensors_at + 1 {
            self.tensors += 1;
            return within("tensors", self.tensors, MAX_STATE_TENSORS);
        }
        self.count_free()
    }

    fn count_free(&mut self) -> Result<(), JsonError> {
        self.free_values += usize::from(!self.in_tensors);
        within("values beside its tensors", self.free_values, MAX_FREE_JSON_VALUES)
    }
}

fn within(what: &'static str, found: usize, most: usize) -> Result<(), JsonError> {
    if found > most { Err(JsonError::OverLimit { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn limit(json: &str, depth: usize) -> &'static str {
        match parse_metadata::<Value>(json.as_bytes(), depth) {
            Ok(_) => "none",
            Err(JsonError::OverLimit { what, .. }) => what,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn free_values_are_counted_apart_from_those_of_tensors() {
        let list = |count: usize| vec!["0"; count].join(",");
        let many = list(MAX_FREE_JSON_VALUES + 1);
        let one = format!(r#"{{"a":1,"tensors":{{"w":[{many}]}},"b":2}}"#);
        assert_eq!(limit(&one, 1), "none");
        assert_eq!(limit(&format!(r#"{{"metadata":{one}}}"#), 2), "none");
        // Another key, another depth, and what follows the tensors.
        for json in [
            format!(r#"{{"other":{{"w":[{many}]}}}}"#),
            format!(r#"{{"hparams":{{"tensors":[{many}]}}}}"#),
            format!(r#"{{"tensors":{{}},"hparams":[{many}]}}"#),
            format!(r#"{{"tensors":1,"hparams":[{many}]}}"#),
            format!(r#"{{"hparams":["tensors",[{many}]]}}"#),
            format!("[{many}]"),
        ] {
            assert_eq!(limit(&json, 1), "values beside its tensors", "{json:.60}");
        }
    }

    #[test]
    fn texts_and_tensors_have_limits() {
        let long = "a".repeat(MAX_FREE_JSON_BYTES);
        assert_eq!(limit(&format!(r#"{{"a":"{long}"}}"#), 1), "bytes beside its tensors");
        assert_eq!(limit(&format!(r#"{{"tensors":{{"{long}":1}}}}"#), 1), "bytes in a text");
        let tensors = |count: usize| {
            let entries: Vec<String> = (0..count).map(|number| format!("\"{number}\":{{}}")).collect();
            format!(r#"{{"tensors":{{{}}}}}"#, entries.join(","))
        };
        assert_eq!(limit(&tensors(MAX_STATE_TENSORS + 1), 1), "tensors");
        assert_eq!(limit(&tensors(MAX_STATE_TENSORS - 1), 1), "none");
    }
}
