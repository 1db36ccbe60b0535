//! The trainer's own loop: epochs, batches, devices, and the state that it keeps.
//!
//! Uses `saving`, `learner_state` and the folders below them. `run` and `burn_loops` use its outcome, `trainer` starts it.
//!
//! From top to bottom: `abandonable_loop` (the loop beside devices that can be lost), `fit_loop` (one call of `fit`),
//! `epochs` (what happens in it), `loop_end`, `loop_state`, and its parts: `trained_learner`, `event_reporter`,
//! `early_stopping`, `multi_device`, `effective_batch`, `epoch_batches`, `seeding`.

pub(crate) mod abandonable_loop;
mod early_stopping;
mod effective_batch;
mod epoch_batches;
mod epochs;
mod event_reporter;
pub(crate) mod fit_loop;
pub(crate) mod loop_end;
mod loop_state;
pub(crate) mod multi_device;
mod seeding;
mod trained_learner;
