//! The part of a checkpoint with which its run has validated: then the metrics in the metadata are of that
//! part, and not of the model that the run trains.

use serde::Deserialize;

use crate::error::Result;
use crate::format::container::bounded_json::parse;
use crate::format::container::limits::MAX_JSON_VALUES;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;

/// The string in which burn-trainer's callbacks say what their part is.
const VALUE: &str = "callback.value";

/// What is looked for in it.
#[derive(Deserialize)]
struct PartValue {
    validates: bool,
}

impl Checkpoint {
    /// The part with which the run has validated in place of the model, such as `ema`: the `val_` metrics of
    /// the checkpoint are of that one. `None` where they are of the model.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::section`].
    pub fn validated_part(&self) -> Result<Option<String>> {
        for name in self.sections() {
            let Some(part) = name.strip_prefix(Section::USER_PREFIX) else { continue };
            let section = self.section(name)?;
            let value = section.strings.get(VALUE);
            let value = value.and_then(|text| parse::<PartValue>(text.as_bytes(), MAX_JSON_VALUES).ok());
            if value.is_some_and(|value| value.validates) && !section.tensors.is_empty() {
                return Ok(Some(part.to_owned()));
            }
        }
        Ok(None)
    }
}
