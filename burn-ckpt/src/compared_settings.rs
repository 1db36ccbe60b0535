//! Which settings of the trainer are compared between runs: those on which the result of a training depends.

/// Settings of the names and places of a run and its files, and of one start of it.
pub const NAMES_AND_PLACES: [&str; 10] =
    ["run_id", "name", "project", "tags", "notes", "root", "logs", "ckpt_path", "overwrite", "rank"];
/// Settings that say how checkpoints are saved, and a process behaves: the result of a training does not
/// depend on them.
pub const NOT_OF_THE_RESULT: [&str; 19] = [
    "strategies",
    "best",
    "last",
    "on_exception",
    "checkpoint_saving",
    "max_epochs",
    "lock",
    "handle_signals",
    "changed_hparams",
    "slurm_requeue",
    "when_busy",
    "max_waiting_saves",
    "max_file_bytes",
    "failed_saves",
    "device_timeout_seconds",
    "restarts",
    "model_summary_depth",
    "progress",
    "report",
];

/// Whether the result of a training depends on the setting of this path.
#[must_use]
pub fn is_of_result(path: &str) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    !NAMES_AND_PLACES.contains(&first) && !NOT_OF_THE_RESULT.contains(&first)
}
