//! What a mirror has of a run, and how it comes from there: listed, to disk, or by ranges.

pub(crate) mod begin;
mod by_address;
pub(crate) mod checkpoint_files;
mod download;
pub(crate) mod links;
mod metrics_log;
pub(crate) mod mirrored_run;
