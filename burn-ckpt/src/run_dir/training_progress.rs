//! How far a run is, by the metadata and the trainer's state in one of its checkpoints.

use serde_json::Value;

use crate::format::metadata::Metadata;

/// The epochs that are done in a checkpoint.
#[must_use]
pub fn epochs_done(metadata: &Metadata, trainer_state: &Value) -> u64 {
    let is_at_its_end = trainer_state["epoch_complete"].as_bool().unwrap_or_default();
    metadata.epoch.saturating_add(u64::from(is_at_its_end))
}

/// Whether the training is complete in a checkpoint: it says so, or it is of an earlier version, which does
/// not say how a run ended, and has all epochs or steps of its configuration.
#[must_use]
pub fn is_done(metadata: &Metadata, trainer_state: &Value) -> bool {
    let is_at =
        |limit: &str, done: u64| metadata.trainer_config[limit].as_u64().is_some_and(|limit| done >= limit);
    match &trainer_state["ended"] {
        Value::Null => {
            is_at("max_epochs", epochs_done(metadata, trainer_state))
                || is_at("max_steps", metadata.global_step)
        }
        ended => ended == "done",
    }
}
