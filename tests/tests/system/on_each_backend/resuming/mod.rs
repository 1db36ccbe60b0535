//! Resuming a run: from which checkpoint, with all of its state, and after a crash.

mod leftovers_of_a_crash;
mod resume_from;
mod whole_state;
