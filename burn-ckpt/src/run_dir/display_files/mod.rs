//! Files of a run beside its checkpoints by which others show it: its page, and those of its trackers.

pub(crate) mod report_page;
pub(crate) mod tracker_files;
