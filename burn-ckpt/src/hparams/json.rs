//! Hyperparameters as JSON. What JSON cannot hold is an error that names the field, before anything is
//! trained or saved.

use serde::Serialize;
use serde_json::Value;

use crate::hparams::serialized_value::SerializedValue;

/// Hyperparameters that JSON cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("{}{reason}", field.as_ref().map_or_else(String::new, |field| format!("the field `{field}`: ")))]
pub struct UnwritableHparams {
    /// The field, by its dotted key; `None` for the whole.
    pub field: Option<String>,
    /// What it is, and what to do.
    pub reason: String,
}

/// Hyperparameters as JSON that gives the same when it is read.
///
/// # Errors
///
/// A number that is not finite (JSON has null for it), `Some` of a null (it would come back as `None`), and
/// what serde_json does not write at all.
pub fn hparams_to_json(hparams: &(impl Serialize + ?Sized)) -> Result<Value, UnwritableHparams> {
    let json = serde_path_to_error::serialize(hparams, serde_json::value::Serializer).map_err(|error| {
        let field = Some(error.path().to_string()).filter(|field| field != ".");
        UnwritableHparams { field, reason: format!("it cannot be written as JSON: {}", error.inner()) }
    })?;
    // The same calls have just succeeded.
    match SerializedValue::of(hparams).ok().and_then(|value| value.lost_in_json()) {
        None => Ok(json),
        Some((field, what)) => {
            let reason =
                format!("it is {what}, which JSON cannot hold: use a finite number, or None in an Option");
            Err(UnwritableHparams { field: Some(field).filter(|field| !field.is_empty()), reason })
        }
    }
}
