//! The part of a checkpoint with which its run has validated: then the metrics in the metadata are of that
//! part, and not of the model that the run trains.

use serde::Deserialize;

use crate::error::Result;
use crate::format::container::bounded_json::parse;
use crate::format::container::limits::MAX_JSON_VALUES;
use crate::format::section::Section;
use crate::load::checkpoint::Checkpoint;
use crate::strategy_names::primary_metric;

/// How the names of the metrics of validation begin.
const VALIDATION_PREFIX: &str = "val_";
/// The string in which burn-trainer's callbacks say what their part is.
const VALUE: &str = "callback.value";

/// What is looked for in it.
#[derive(Deserialize)]
struct PartValue {
    validates: bool,
    /// The validation sets that are validated with the model nevertheless.
    #[serde(default)]
    trained_on: Vec<String>,
}

impl Checkpoint {
    /// The part with which the run has validated in place of the model, such as `ema`: the `val_` metrics of
    /// the checkpoint are of that one. `None` where they are of the model.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::section`].
    pub fn validated_part(&self) -> Result<Option<String>> {
        Ok(self.validating_part()?.map(|(part, _)| part))
    }

    /// The part of which a metric is: for `val_` metrics that with which the run has
    /// [validated](Checkpoint::validated_part), unless it has validated their set with the model. `None` for
    /// the model.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::section`].
    pub fn part_of_metric(&self, metric: &str) -> Result<Option<String>> {
        let Some(name) = metric.strip_prefix(VALIDATION_PREFIX) else { return Ok(None) };
        let is_of = |set: &String| name.strip_prefix(set.as_str()).is_some_and(|rest| rest.starts_with('_'));
        let part = self.validating_part()?.filter(|(_, trained_on)| !trained_on.iter().any(is_of));
        Ok(part.map(|(part, _)| part))
    }

    /// The part of the primary metric, if that is one of validation, or else that with which the run has
    /// validated.
    pub(crate) fn part_of_validation(&self) -> Result<Option<String>> {
        let config = self.metadata().map(|metadata| metadata.trainer_config).unwrap_or_default();
        match primary_metric(&config).filter(|metric| metric.starts_with(VALIDATION_PREFIX)) {
            Some(primary) => self.part_of_metric(primary),
            None => self.validated_part(),
        }
    }

    /// The part that validates, and the sets that are validated with the model nevertheless.
    fn validating_part(&self) -> Result<Option<(String, Vec<String>)>> {
        for name in self.sections() {
            let Some(part) = name.strip_prefix(Section::USER_PREFIX) else { continue };
            let section = self.section(name)?;
            let value = section.strings.get(VALUE);
            let value = value.and_then(|text| parse::<PartValue>(text.as_bytes(), MAX_JSON_VALUES).ok());
            if let Some(value) = value.filter(|value| value.validates && !section.tensors.is_empty()) {
                return Ok(Some((part.to_owned(), value.trained_on)));
            }
        }
        Ok(None)
    }
}
