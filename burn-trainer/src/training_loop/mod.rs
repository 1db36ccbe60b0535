//! The trainer's own loop: epochs, batches, devices, and the state that it keeps.
//!
//! From top to bottom: `abandonable_loop` (the loop beside devices that can be lost), `burn_settings` (what a
//! run has in place of settings of burn's training), `fit_loop` (one call of `fit`), `trial` (steps outside
//! of a run), `epochs` (what happens in it), `validation`, `loop_end`, `callback_calls`, `loop_state`, and
//! its `parts`.

pub(crate) mod abandonable_loop;
pub(crate) mod burn_settings;
mod callback_calls;
mod epochs;
pub(crate) mod fit_loop;
pub(crate) mod loop_end;
mod loop_state;
pub(crate) mod parts;
pub(crate) mod trial;
mod validation;
mod validation_data;
