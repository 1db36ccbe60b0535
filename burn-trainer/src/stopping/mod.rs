//! A stop that the loop does not see, because it waits for a batch or is in a step that does not end: the state of the last
//! update is parked beside the loop, and saved from outside.
//!
//! `process::signals` decides when. Uses `saving`, `learner_state` and the folders below them. `training_loop` parks the
//! state; `burn_loops` and `trainer` use it too.

pub(crate) mod end_of_run;
pub(crate) mod parked_state;
pub(crate) mod save_from_outside;
