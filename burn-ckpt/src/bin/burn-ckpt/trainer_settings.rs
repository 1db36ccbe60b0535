//! The trainer's configuration as it stands in a checkpoint's metadata: its settings by their paths, and
//! which of them say what a run is called and where its files are, and not how it is trained.

use burn_ckpt::plumbing::{NAMES_AND_PLACES, leaves, with_named_strategies};
use serde_json::{Map, Value};

/// The settings that say how a run is trained and saved, by their paths.
pub fn of_training(trainer_config: &Value) -> Map<String, Value> {
    let mut settings = settings(trainer_config);
    settings.retain(|path, _| !NAMES_AND_PLACES.contains(&first_part(path)));
    settings
}

/// All settings by the paths under which a program's `--set` changes them: `best.topk`.
pub fn settings(trainer_config: &Value) -> Map<String, Value> {
    flat(&with_named_strategies(trainer_config))
}

/// The first name in the path of a setting.
fn first_part(path: &str) -> &str {
    path.split('.').next().unwrap_or_default()
}

/// The values of a JSON document by their paths.
pub fn flat(json: &Value) -> Map<String, Value> {
    // A document that is null has no values.
    leaves(json)
        .into_iter()
        .filter(|(path, value)| !(path.is_empty() && value.is_null()))
        .map(|(path, value)| (path, value.clone()))
        .collect()
}
