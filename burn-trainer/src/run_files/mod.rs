//! Files of a run beside its checkpoints: how they are opened and written, burn's log, and what the limit of
//! a file's size does.

pub(crate) mod experiment_log;
pub(crate) mod file_size_limit;
pub(crate) mod line_file;
pub(crate) mod regular_file;
