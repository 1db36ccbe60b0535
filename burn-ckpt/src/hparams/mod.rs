//! Hyperparameters: to the JSON in a checkpoint's header, and from there to the type that a model is built
//! from.

mod dropped_fields;
mod from_serialized;
pub(crate) mod json;
pub(crate) mod serialized_value;
mod to_serialized;
pub(crate) mod typed;
pub(crate) mod value_error;
