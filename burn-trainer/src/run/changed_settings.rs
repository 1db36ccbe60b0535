//! What differs between a checkpoint and the program that resumes from it: hyperparameters, the trainer's
//! configuration, the data. (`process/environment_devices` compares the program's commit, which is known
//! later.)

use std::fmt;

use burn_ckpt::plumbing::with_named_strategies;
use indexmap::IndexMap;
use serde_json::Value;

use crate::config::{ChangedHparams, OF_THE_START, TrainerConfig};
use crate::error::{Error, Result};
use crate::process::console::{note, warn};
use crate::process::progress::figures::count;
use crate::state::position::{DataLengths, TrainerState};
use crate::state::resume_point::ResumePoint;
use crate::state::training_data::TrainingData;

/// A setting with its value in the checkpoint and its value now.
#[derive(Debug, PartialEq)]
struct Change {
    name: String,
    before: Option<Value>,
    now: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("not set".to_owned(), Value::to_string);
        write!(f, "{} is {}, was {} in the checkpoint", self.name, shown(&self.now), shown(&self.before))
    }
}

/// Lists what has changed since the checkpoint, a line each. `data` is what the loaders have now, and whether
/// the one for training can finish an epoch in the order in which it began.
///
/// # Errors
///
/// [`Error::Config`] when hyperparameters differ and the configuration makes that an error.
pub(super) fn report(
    resume: &ResumePoint,
    config: &TrainerConfig,
    hparams: &Value,
    data: &TrainingData,
) -> Result<()> {
    let metadata = &resume.metadata;
    let mut hparams_changes = Vec::new();
    differences("hparams", Some(&metadata.hparams), Some(hparams), &mut hparams_changes);
    match config.changed_hparams {
        ChangedHparams::Error => {
            if let Some(reason) = listed(&hparams_changes) {
                let reason = format!(
                    "{reason}; give the values of {}, or set changed_hparams to \"warn\"",
                    metadata.checkpoint_path
                );
                return Err(Error::config("the hyperparameters", reason));
            }
        }
        ChangedHparams::Warn => hparams_changes.iter().for_each(|change| warn(&change.to_string())),
        ChangedHparams::Allow => {}
    }
    config_changes(&metadata.trainer_config, config).iter().for_each(|change| note(&change.to_string()));
    let sets = set_changes(&resume.state.validation_sets, &data.sets.items());
    let others = data_changes(resume, data.lengths(), data.keeps_order()).into_iter().chain(sets);
    others.chain(seed_change(config, resume)).for_each(|change| warn(&change));
    Ok(())
}

fn listed(changes: &[Change]) -> Option<String> {
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// The differences of two JSON values, down to the fields of objects and the elements of lists of one length.
fn differences(name: &str, before: Option<&Value>, now: Option<&Value>, found: &mut Vec<Change>) {
    match (before, now) {
        (Some(Value::Object(before)), Some(Value::Object(now))) => {
            let added = now.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                differences(&name, before.get(key), now.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(now))) if before.len() == now.len() => {
            for (place, (before, now)) in before.iter().zip(now).enumerate() {
                differences(&format!("{name}.{place}"), Some(before), Some(now), found);
            }
        }
        (before, now) if is_same(before, now) => {}
        (before, now) => {
            found.push(Change { name: name.to_owned(), before: before.cloned(), now: now.cloned() });
        }
    }
}

/// A field that is null says as much as one that is missing; 1 and 1.0 are the same number.
fn is_same(before: Option<&Value>, now: Option<&Value>) -> bool {
    let (before, now) = (before.unwrap_or(&Value::Null), now.unwrap_or(&Value::Null));
    before == now || before.as_f64().is_some_and(|before| now.as_f64() == Some(before))
}

fn config_changes(then: &Value, now: &TrainerConfig) -> Vec<Change> {
    let spelled_out = |config: &TrainerConfig| serde_json::to_value(config.spelled_out()).unwrap_or_default();
    // Fields that an older version did not have get their defaults.
    let parsed = serde_json::from_value::<TrainerConfig>(then.clone());
    let mut then = parsed.map_or_else(|_| then.clone(), |config| spelled_out(&config));
    let mut now = spelled_out(now);
    for json in [&mut then, &mut now] {
        *json = with_named_strategies(json);
        if let Value::Object(fields) = json {
            // `seed_change` says what another seed means.
            fields.retain(|key, _| !OF_THE_START.contains(&key.as_str()) && key != "seed");
        }
    }
    let mut found = Vec::new();
    differences("", Some(&then), Some(&now), &mut found);
    found
}

fn data_changes(resume: &ResumePoint, now: DataLengths, keeps_order: bool) -> Vec<String> {
    let Some(then) = resume.state.data else { return Vec::new() };
    let position = resume.state.position.next();
    let mut lines = Vec::new();
    if then.train != now.train {
        let what = match (position.batches > 0 && !position.trained, now.train > then.train) {
            (false, _) => String::new(),
            (true, true) if keeps_order => format!(
                ": epoch {} is finished with the first {}, later epochs have all",
                position.epoch + 1,
                then.train
            ),
            (true, _) => format!(
                ": in the rest of epoch {} some items may come twice and others never",
                position.epoch + 1
            ),
        };
        lines.push(format!("the training data has {}, had {}{what}", count(now.train, "item"), then.train));
    }
    if then.valid != now.valid {
        lines.push(format!(
            "the validation data has {}, had {}: scores from before are of other data",
            count(now.valid, "item"),
            then.valid
        ));
    }
    lines
}

/// What differs in the named validation sets.
fn set_changes(then: &IndexMap<String, u64>, now: &IndexMap<String, u64>) -> Vec<String> {
    let added = now.iter().filter(|(name, _)| !then.contains_key(*name));
    let added = added
        .map(|(name, _)| format!("the validation set {name} is new: the checkpoint has no metrics of it"));
    let others = then.iter().filter_map(|(name, then)| match now.get(name) {
        None => Some(format!(
            "the checkpoint has the validation set {name}, and this run has not: later checkpoints are without its metrics"
        )),
        Some(now) if now != then => Some(format!(
            "the validation set {name} has {}, had {then}: scores from before are of other data",
            count(*now, "item")
        )),
        Some(_) => None,
    });
    others.chain(added).collect()
}

/// The named validation sets of the checkpoint that this run does not have.
pub(super) fn sets_gone(resume: &ResumePoint, data: &TrainingData) -> Vec<String> {
    let now = data.sets.items();
    resume.state.validation_sets.keys().filter(|name| !now.contains_key(*name)).cloned().collect()
}

/// What another seed means for the rest of the run.
fn seed_change(config: &TrainerConfig, resume: &ResumePoint) -> Option<String> {
    let TrainerState { seed, position, .. } = resume.state;
    if seed == config.seed {
        return None;
    }
    let in_this_epoch = if position.next().batches > 0 {
        ", and in this epoch some items may come twice and others never"
    } else {
        ""
    };
    Some(format!(
        "the run had the seed {seed} and continues with {}: random numbers differ from here{in_this_epoch}",
        config.seed
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(before: &Value, now: &Value) -> Vec<String> {
        let mut found = Vec::new();
        differences("hparams", Some(before), Some(now), &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_that_differs_has_a_line_with_both_values() {
        let before = json!({"lr": 1e-5, "width": 3, "model": {"layers": [1, 2]}, "gone": "x", "none": null});
        let now = json!({"lr": 0.003, "width": 3.0, "model": {"layers": [1, 4]}, "new": true});
        assert_eq!(
            lines(&before, &now),
            [
                "hparams.lr is 0.003, was 0.00001 in the checkpoint",
                "hparams.model.layers.1 is 4, was 2 in the checkpoint",
                "hparams.gone is not set, was \"x\" in the checkpoint",
                "hparams.new is true, was not set in the checkpoint",
            ]
        );
        assert!(lines(&before, &before).is_empty());
        assert_eq!(lines(&json!([1]), &json!([1, 2])).len(), 1, "a list of another length");
    }

    #[test]
    fn the_configuration_is_compared_without_what_names_the_start() {
        let then = TrainerConfig::new().with_primary_metric("val_loss").with_run_id("a").with_seed(1);
        let now = then.clone().with_run_id("b").with_ckpt_path("auto").with_seed(2).with_max_epochs(9);
        let then = serde_json::to_value(then.spelled_out()).unwrap();
        let found: Vec<String> = config_changes(&then, &now).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["max_epochs is 9, was 1 in the checkpoint"]);
        let old = json!({"primary_metric": "val_loss", "max_epochs": 9});
        assert!(config_changes(&old, &now).is_empty(), "an older version had fewer fields");
    }
}
