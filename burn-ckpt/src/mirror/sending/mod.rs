//! Sending: the writer of a run's mirror, and what it does. A checkpoint is sent, then links are moved, then
//! retention deletes.

mod evaluations;
pub(crate) mod forks;
mod leftovers;
mod links;
mod local_checkpoint;
pub(crate) mod local_names;
mod metrics_log;
pub(crate) mod mirror_keep;
mod own_directory;
mod remove_run;
pub(crate) mod retention;
pub(crate) mod run_mirror;
pub(crate) mod upload;
