//! A stop that the loop does not see, because it waits for a batch or is in a step that does not end: the
//! state of the last update is parked beside the loop, and saved from outside.
//!
//! `process::signals` decides when. `stop_control` has all that can stop a run. `training_loop` parks the
//! state. `end_of_run` says at a run's end how to resume it, with the line of `resume_command`.

pub(crate) mod end_of_run;
pub(crate) mod parked_state;
pub(crate) mod resume_command;
pub(crate) mod save_from_outside;
pub(crate) mod stop_control;
