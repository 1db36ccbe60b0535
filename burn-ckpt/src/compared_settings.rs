//! Settings by their paths, and which of the trainer's are compared between runs: those on which the result
//! of a training depends.

use serde_json::Value;

/// Settings of the names and places of a run and its files, and of one start of it.
pub const NAMES_AND_PLACES: [&str; 10] =
    ["run_id", "name", "project", "tags", "notes", "root", "logs", "ckpt_path", "overwrite", "rank"];
/// Settings that say how checkpoints are saved, and a process behaves: the result of a training does not
/// depend on them.
pub const NOT_OF_THE_RESULT: [&str; 24] = [
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
    "metric_files",
    "trackers",
    "trackers_wait_seconds",
    "mirror",
    "end_with",
];

/// Whether the result of a training depends on the setting of this path.
#[must_use]
pub fn is_of_result(path: &str) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    !NAMES_AND_PLACES.contains(&first) && !NOT_OF_THE_RESULT.contains(&first)
}

/// The values in a JSON value with their paths, `optimizer.betas.0`, in the order of the document.
#[must_use]
pub fn leaves(value: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    collect(String::new(), value, &mut found);
    found
}

fn collect<'a>(path: String, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| collect(below(key), value, found));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| collect(below(&index.to_string()), value, found));
        }
        _ => found.push((path, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let json = serde_json::json!({ "a": { "b": [1, 2], "c": [{ "d": null }] }, "e": {} });
        let found: Vec<String> =
            leaves(&json).iter().map(|(path, value)| format!("{path} {value}")).collect();
        assert_eq!(found, ["a.b [1,2]", "a.c.0.d null", "e {}"]);
    }

    #[test]
    fn where_a_run_is_copied_and_what_shows_it_is_not_of_its_result() {
        for path in
            ["mirror.address", "trackers", "trackers_wait_seconds", "metric_files", "root", "best.topk"]
        {
            assert!(!is_of_result(path), "{path}");
        }
        assert!(is_of_result("seed") && is_of_result("validation.every_n_steps"));
    }
}
