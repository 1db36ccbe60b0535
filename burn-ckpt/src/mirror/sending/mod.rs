//! Sending: the writer of a run's mirror, and what it does. A checkpoint is sent, then links are moved, then
//! retention deletes.

mod evaluations;
pub(crate) mod forks;
mod links;
mod local_checkpoint;
pub(crate) mod local_names;
mod metrics_log;
mod own_directory;
pub(crate) mod removal;
pub(crate) mod run_mirror;
pub(crate) mod upload;
