//! What a setting has that is not there now: the fields of a struct that is null.

use burn_ckpt::plumbing::SerializedValue;
use serde::de::DeserializeOwned;

/// A key that no configuration has.
pub(super) const NO_KEY: &str = "\0";

/// The fields of a struct in a place where there is none now. Empty for any other place.
pub(super) fn parts_of_absent<T: DeserializeOwned>(
    fields: &SerializedValue,
    place: &str,
) -> &'static [&'static str] {
    let is_absent = fields
        .find(place)
        .is_some_and(|value| matches!(value.inner(), SerializedValue::Null | SerializedValue::None));
    let other = SerializedValue::Map(vec![(SerializedValue::Str(NO_KEY.to_owned()), SerializedValue::Null)]);
    let read = fields.with(place, other).filter(|_| is_absent).map(|changed| T::deserialize(&changed));
    match read {
        Some(Err(error)) => error.fields(),
        _ => &[],
    }
}
