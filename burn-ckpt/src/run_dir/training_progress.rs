//! How far a run is, by the metadata and the trainer's state in one of its checkpoints.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::metadata::Metadata;

/// What has ended a run before its last epoch, as done: `ended_by` in the trainer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The limit of optimizer steps.
    MaxSteps,
    /// The limit of training time.
    MaxTime,
    /// The trainer's early stopping.
    EarlyStopping,
    /// A callback of the program.
    Callback,
}

impl EndedBy {
    /// The setting of the limit. `None` if it was not a limit.
    #[must_use]
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::MaxSteps => Some("max_steps"),
            Self::MaxTime => Some("max_time"),
            Self::EarlyStopping | Self::Callback => None,
        }
    }
}

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

/// What has ended a run that is done in a checkpoint, before its last epoch. For a checkpoint of an earlier
/// version, which does not say it: the limit of its configuration that it has come to.
#[must_use]
pub fn ended_by(metadata: &Metadata, trainer_state: &Value) -> Option<EndedBy> {
    let config = &metadata.trainer_config;
    if config["max_epochs"].as_u64().is_none_or(|max| epochs_done(metadata, trainer_state) >= max) {
        return None;
    }
    let is_at = |limit: &str, done: f64| config[limit].as_f64().is_some_and(|limit| done >= limit);
    match &trainer_state["ended_by"] {
        Value::Null if is_at("max_steps", metadata.global_step as f64) => Some(EndedBy::MaxSteps),
        Value::Null if is_at("max_time", metadata.training_time_seconds) => Some(EndedBy::MaxTime),
        // What a later version names is not one of these.
        said => EndedBy::deserialize(said).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_ended_a_run_is_what_its_state_says_and_in_older_files_the_limit_it_has_come_to() {
        let config = json!({"max_epochs": 5, "max_steps": 15, "max_time": 60.0});
        let metadata = Metadata::new("2026-11-29T02:00:00Z".parse().unwrap()).with_trainer_config(config);
        let after = |step, seconds, state: Value| {
            let metadata = metadata.clone().with_global_step(step).with_training_time_seconds(seconds);
            ended_by(&metadata, &state)
        };
        assert_eq!(after(15, 1.0, json!({})), Some(EndedBy::MaxSteps));
        assert_eq!(after(14, 60.0, json!({})), Some(EndedBy::MaxTime));
        assert_eq!(after(14, 1.0, json!({})), None);
        let said = |name: &str| after(15, 1.0, json!({ "ended_by": name }));
        assert_eq!(said("callback"), Some(EndedBy::Callback));
        assert_eq!(said("max_time").and_then(EndedBy::limit), Some("max_time"));
        assert_eq!(said("of a later version"), None);
        let last = metadata.clone().with_epoch(4).with_global_step(15);
        assert_eq!(ended_by(&last, &json!({"epoch_complete": true, "ended_by": "max_steps"})), None);
    }
}
