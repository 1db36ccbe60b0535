//! Where a run is, and what happens in it: what the folders above speak of.
//!
//! Uses `metrics` (the history in a checkpoint). `strategy`, `saving` and the folders above use it.

mod check_sections;
pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod resume_point;
pub(crate) mod run_clock;
