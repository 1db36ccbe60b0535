//! Saves for the writer of checkpoints, without a training.

use std::path::PathBuf;

use burn_ckpt::plumbing::SaveRequest;
use burn_ckpt::{Contents, Section};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

/// A save of a state with one section, the model, after an optimizer step. `model` is called on the writer's
/// thread.
#[must_use]
pub fn save_request(
    step: u64,
    places: Vec<(PathBuf, String)>,
    model: impl FnOnce() -> Section + Send + 'static,
) -> SaveRequest {
    SaveRequest {
        timestamp: Timestamp::now(),
        epoch: 0,
        global_step: step,
        training_time_seconds: 0.0,
        speed: Value::Null,
        metrics: IndexMap::new(),
        trainer_state: Box::new(|_| Value::Null),
        places,
        conditional: false,
        urgent: false,
        sections: Box::new(move || Ok(Contents::default().with_section(Section::MODEL, model()).sections)),
    }
}
