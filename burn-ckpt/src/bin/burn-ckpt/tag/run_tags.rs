//! The tags and notes of a run: those that it was started with, and what was changed of them since.

use std::collections::BTreeSet;

use burn_ckpt::plumbing::LaterTags;
use serde_json::Value;

use crate::verb_result::Failure;

/// A run's tags and notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTags {
    pub tags: Vec<String>,
    pub notes: Option<String>,
}

impl RunTags {
    pub fn new(trainer_config: &Value, later: &LaterTags) -> Self {
        let tags = later.all(configured_tags(trainer_config)).into_iter().map(str::to_owned).collect();
        let notes = later.notes.as_deref().or_else(|| trainer_config["notes"].as_str());
        Self { tags, notes: notes.filter(|notes| !notes.is_empty()).map(str::to_owned) }
    }
}

/// The tags in a trainer's configuration.
pub fn configured_tags(trainer_config: &Value) -> Vec<&str> {
    trainer_config["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Nothing of this kind has the tags. Names those that there are.
pub fn unknown_tag(what: &str, wanted: &[String], there: BTreeSet<String>) -> Failure {
    let there = if there.is_empty() { "none".to_owned() } else { Vec::from_iter(there).join(", ") };
    Failure::Other(format!("no {what} has the tag {}; the tags are {there}", wanted.join(" and ")))
}
