//! The trainer's own loop: epochs, batches, devices, and the state that it keeps. `fit_loop` is one call of
//! `fit`, and `epochs` what happens in it.

pub(crate) mod abandonable_loop;
pub(crate) mod burn_settings;
mod callback_calls;
mod epochs;
pub(crate) mod fit_loop;
pub(crate) mod loop_end;
mod loop_state;
pub(crate) mod parts;
mod resumed_rate;
pub(crate) mod trial;
mod validation;
mod validation_data;
