//! From an event to a save that is handed to `burn-ckpt`'s writer: which strategies save, and under which
//! names.
//!
//! The saved state itself comes from `learner_state`, through a function that the caller gives.
//!
//! From top to bottom: `run_saves` (saving in one call of `fit`), `saver` (one event), `requested_save`,
//! `active_strategies`, `checkpoint_events`, `saved_names`, `save_summary`, `earlier_verification`,
//! `existing_checkpoints`, `run_checkpoints`.

mod active_strategies;
pub(crate) mod checkpoint_events;
mod earlier_verification;
pub(crate) mod existing_checkpoints;
pub(crate) mod requested_save;
pub(crate) mod run_checkpoints;
pub(crate) mod run_saves;
pub(crate) mod save_summary;
mod saved_names;
pub(crate) mod saver;
