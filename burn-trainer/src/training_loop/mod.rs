//! The trainer's own loop: epochs, batches, devices, and the state that it keeps.

pub(crate) mod abandonable_loop;
pub(crate) mod effective_batch;
pub(crate) mod epoch_batches;
pub(crate) mod epochs;
pub(crate) mod loop_state;
pub(crate) mod multi_device;
pub(crate) mod running_statistics;
pub(crate) mod seeding;
