//! Where a run is, what happens in it, and what its callbacks store: what the folders above speak of.

pub(crate) mod callback_state;
pub(crate) mod check_optimizer_state;
pub(crate) mod end_reason;
pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod resume_point;
pub(crate) mod run_clock;
pub(crate) mod run_info;
mod running_time;
pub(crate) mod speed_meter;
pub(crate) mod training_data;
