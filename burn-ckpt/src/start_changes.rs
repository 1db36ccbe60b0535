//! What changed between the starts of a run: the hyperparameters and the trainer's settings, without those of
//! names, places, and one start. And whether a checkpoint has the settings of the newest one.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use crate::compared_settings::{NAMES_AND_PLACES, is_of_result, leaves};
use crate::format::metadata::Metadata;
use crate::format::run_start::RunStart;
use crate::strategy_names::with_named_strategies;

/// Settings of how a process shows what it does.
const OF_THE_DISPLAY: [&str; 2] = ["progress", "report"];

/// A setting that a start changed. `None` stands for one that is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingChange {
    /// The path of the setting: `learning_rate`, `best.topk`.
    pub name: String,
    /// What it was in the start before.
    pub before: Option<Value>,
    /// What it is since then.
    pub after: Option<Value>,
}

impl SettingChange {
    /// The change in words: `learning_rate 0.001 -> 0.1`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let [before, after] = [&self.before, &self.after].map(|value| value_in_words(value.as_ref()));
        format!("{} {before} -> {after}", self.name)
    }
}

/// What each start changed. The first changed nothing.
#[must_use]
pub fn changes_of(starts: &[RunStart]) -> Vec<Vec<SettingChange>> {
    let (mut hparams, mut settings) = (None, None);
    let change = |start: &RunStart| {
        let mut changed = Vec::new();
        let now = start.hparams.as_ref().map(flat);
        changed.extend(differences(&mut hparams, now));
        let now = start.trainer_config.as_ref().map(|config| {
            let mut now = flat(&with_named_strategies(config));
            now.retain(|path, _| is_compared(path));
            now
        });
        changed.extend(differences(&mut settings, now));
        changed
    };
    starts.iter().map(change).collect()
}

/// In what an earlier checkpoint of a run has another origin than the newest one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OtherOrigin {
    /// The hyperparameters, and the settings on which the result depends, that it has and the newest one does
    /// not.
    pub settings: Vec<(String, Value)>,
    /// Whether the part of the run that it is of was trained again after it.
    pub is_trained_again: bool,
}

impl OtherOrigin {
    /// That of a checkpoint beside the newest one, whose metadata has the starts.
    #[must_use]
    pub fn of(checkpoint: &Metadata, newest: &Metadata) -> Self {
        let mut changed = differences(&mut Some(flat(&newest.hparams)), Some(flat(&checkpoint.hparams)));
        let [one, other] = [checkpoint, newest].map(|metadata| {
            let mut settings = flat(&with_named_strategies(&metadata.trainer_config));
            settings.retain(|path, _| is_of_result(path));
            settings
        });
        changed.extend(differences(&mut Some(other), Some(one)));
        let setting = |change: SettingChange| (change.name, change.after.unwrap_or(Value::Null));
        Self {
            settings: changed.into_iter().map(setting).collect(),
            is_trained_again: is_trained_again(checkpoint, newest),
        }
    }

    /// The difference in words that follow the checkpoint's name. `None` where there is none.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let settings: Vec<String> = self
            .settings
            .iter()
            .map(|(name, value)| format!("{name} {}", value_in_words(Some(value))))
            .collect();
        let with = (!settings.is_empty()).then(|| format!("was trained with {}", settings.join(", ")));
        let again = self.is_trained_again.then(|| "is of a part that was trained again".to_owned());
        let said: Vec<String> = with.into_iter().chain(again).collect();
        (!said.is_empty()).then(|| said.join(", and "))
    }
}

/// Whether the part of the run that a checkpoint is of was trained again after it: a later start resumed from
/// an earlier step. `newest` is the run's newest checkpoint, whose metadata has the starts.
#[must_use]
pub fn is_trained_again(checkpoint: &Metadata, newest: &Metadata) -> bool {
    let is_before = |start: &RunStart| {
        start.timestamp > checkpoint.checkpoint_timestamp && start.global_step < checkpoint.global_step
    };
    newest.starts.iter().any(is_before)
}

fn value_in_words(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn is_compared(path: &str) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    !NAMES_AND_PLACES.contains(&first) && !OF_THE_DISPLAY.contains(&first)
}

/// What differs between the values that are known and those of now, which are known from then on.
fn differences(
    known: &mut Option<IndexMap<String, Value>>,
    now: Option<IndexMap<String, Value>>,
) -> Vec<SettingChange> {
    let Some(now) = now else { return Vec::new() };
    let Some(before) = known.replace(now.clone()) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let names = now.keys().chain(before.keys()).filter(|name| seen.insert((*name).clone()));
    let change = |name: &String| {
        let (before, after) = (before.get(name).cloned(), now.get(name).cloned());
        (before != after).then(|| SettingChange { name: name.clone(), before, after })
    };
    names.filter_map(change).collect()
}

/// The values of a JSON document by their paths. One that is null or empty has none.
fn flat(json: &Value) -> IndexMap<String, Value> {
    let is_value =
        |(path, value): &(String, &Value)| !path.is_empty() || !(value.is_null() || value.is_object());
    let found = leaves(json).into_iter().filter(is_value);
    found.map(|(path, value)| (path, value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn start(hparams: Value, config: Value) -> RunStart {
        let mut start = RunStart::new(Timestamp::UNIX_EPOCH, "r1");
        let given = |value: Value| (!value.is_null()).then_some(value);
        (start.hparams, start.trainer_config) = (given(hparams), given(config));
        start
    }

    #[test]
    fn each_start_has_what_it_changed_since_the_one_before() {
        let starts = [
            start(json!({ "lr": 0.1, "n": { "w": 2 } }), json!({ "max_epochs": 3, "root": "a" })),
            start(Value::Null, json!({ "max_epochs": 4, "root": "b", "progress": "off" })),
            start(json!({ "lr": 0.1, "n": { "w": 3 }, "new": "x" }), Value::Null),
            start(Value::Null, Value::Null),
        ];
        let words: Vec<Vec<String>> = changes_of(&starts)
            .iter()
            .map(|changes| changes.iter().map(SettingChange::in_words).collect())
            .collect();
        let expected: [&[&str]; 4] = [&[], &["max_epochs 3 -> 4"], &["n.w 2 -> 3", "new none -> x"], &[]];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_checkpoint_has_another_origin_by_its_settings_and_by_a_start_before_its_step() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let metadata = |lr: f64, root: &str, seconds, step| {
            let mut metadata = Metadata::new(at(seconds)).with_global_step(step);
            (metadata.hparams, metadata.trainer_config) = (json!({ "lr": lr }), json!({ "root": root }));
            metadata
        };
        let (best, mut newest) = (metadata(0.1, "a", 1, 20), metadata(0.1, "b", 3, 30));
        newest.starts = vec![RunStart::new(at(2), "r1")];
        newest.starts[0].global_step = 20;
        assert_eq!(OtherOrigin::of(&best, &newest).in_words(), None);
        newest.starts[0].global_step = 10;
        newest.hparams = json!({ "lr": 0.2 });
        let words = OtherOrigin::of(&best, &newest).in_words().unwrap();
        assert_eq!(words, "was trained with lr 0.1, and is of a part that was trained again");
    }
}
