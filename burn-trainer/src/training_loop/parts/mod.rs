//! The parts of the loop's state, each of which owns one thing.

pub(super) mod burn_early_stopping;
pub(crate) mod device_monitor;
pub(super) mod effective_batch;
pub(super) mod epoch_batches;
pub(super) mod event_reporter;
pub(super) mod loop_callbacks;
pub(crate) mod loop_rules;
pub(crate) mod multi_device;
pub(crate) mod run_limits;
pub(super) mod seeding;
pub(super) mod trained_learner;
pub(super) mod validation_schedule;
