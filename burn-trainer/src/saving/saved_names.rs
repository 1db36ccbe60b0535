//! What a state says of the strategies that it is saved for: under which name, with which score, and why.

use std::path::PathBuf;

use burn_ckpt::plumbing::{MakeTrainerState, SavedPath, numbers};
use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A name of a state.
pub(super) struct SavedName {
    pub(super) strategy: String,
    /// As it was reserved.
    pub(super) path: PathBuf,
    pub(super) score: f64,
    pub(super) reason: String,
}

/// The part of a trainer's state that names the strategies that it was saved for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedFor {
    /// By strategy, the path relative to the `checkpoint` directory.
    pub(super) saved_for: IndexMap<String, String>,
    #[serde(with = "numbers")]
    pub(super) scores: IndexMap<String, f64>,
    /// For the metadata of a file name that a kill prevented and the resumed run writes. Not in checkpoints
    /// of earlier versions.
    #[serde(default)]
    pub(super) reasons: IndexMap<String, String>,
    /// Of all strategies that rank, whichever of them the state is saved for: the newest state tells in which
    /// direction the run's metrics are better. With the scores they tell which one is the best in a copy of
    /// the run that has lost its links. `burn-ckpt` reads them.
    #[serde(skip_deserializing)]
    modes: IndexMap<String, MetricMode>,
}

/// Adds to a state's JSON the names that are written, relative to the `checkpoint` directory, and the modes
/// of all strategies that rank.
pub(super) fn state_maker(
    state: Value,
    names: Vec<SavedName>,
    modes: IndexMap<String, MetricMode>,
    checkpoint_dir: PathBuf,
) -> MakeTrainerState {
    Box::new(move |written| {
        let mut saved = SavedFor { modes: modes.clone(), ..SavedFor::default() };
        for name in &names {
            let Some(SavedPath { path, .. }) = written.iter().find(|written| written.reserved == name.path)
            else {
                continue;
            };
            let relative = path.strip_prefix(&checkpoint_dir).unwrap_or(path).to_string_lossy();
            saved.scores.insert(name.strategy.clone(), name.score);
            saved.reasons.insert(name.strategy.clone(), name.reason.clone());
            saved.saved_for.insert(name.strategy.clone(), relative.into_owned());
        }
        let mut state = state.clone();
        // Maps of text and numbers are JSON in every case.
        if let (Value::Object(state), Ok(Value::Object(saved))) = (&mut state, serde_json::to_value(saved)) {
            state.extend(saved);
        }
        state
    })
}
