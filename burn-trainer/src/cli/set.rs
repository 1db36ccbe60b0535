//! `--set KEY=JSON`: any field of the trainer's or the program's configuration, by its dotted key.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};

/// Applies one assignment.
pub(super) fn set<C: Serialize + DeserializeOwned>(
    assignment: &str,
    trainer: &mut TrainerConfig,
    program: &mut C,
) -> Result<()> {
    let wrong = |reason: String| Error::config(format!("--set {assignment}"), reason);
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(wrong("write it as KEY=JSON".to_owned()));
    };
    // The field's other name, which serde knows in a whole configuration only.
    let renamed = key.strip_prefix("callbacks").filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let key = &renamed.map_or(key.to_owned(), |rest| format!("strategies{rest}"));
    let value: Value = serde_json::from_str(text).map_err(|error| {
        wrong(format!("{text:?} is not JSON ({error}); put text in quotes: --set '{key}=\"{text}\"'"))
    })?;
    let to_json = |error: serde_json::Error| wrong(error.to_string());
    spell_out(trainer, key);
    let mut trainer_json = serde_json::to_value(&*trainer).map_err(to_json)?;
    let mut program_json = serde_json::to_value(&*program).map_err(to_json)?;
    if let Some(slot) = trainer_json.pointer_mut(&pointer(key)) {
        *slot = value;
        *trainer = serde_json::from_value(trainer_json).map_err(to_json)?;
        return Ok(());
    }
    if let Some(slot) = program_json.pointer_mut(&pointer(key)) {
        *slot = value;
        *program = serde_json::from_value(program_json).map_err(to_json)?;
        return Ok(());
    }
    Err(wrong(match (known_keys(&trainer_json, key), known_keys(&program_json, key)) {
        // As far as it goes, the key leads into one of the two.
        (Some((place, keys)), _) | (None, Some((place, keys))) => format!("{place} has {keys}"),
        (None, None) => {
            let (trainer, program) = (listed(&trainer_json), listed(&program_json));
            format!("there is no {key:?}; the trainer has {trainer}; the program has {program}")
        }
    }))
}

/// Writes the strategies down that a key leads to, so that there is something to change.
fn spell_out(trainer: &mut TrainerConfig, key: &str) {
    let is_on = trainer.primary_metric.is_some();
    match key.split('.').next() {
        // The whole list replaces what the program has adjusted.
        Some("strategies") => {
            if trainer.strategies.is_none() {
                trainer.strategies = Some(trainer.effective_strategies());
            }
            (trainer.best, trainer.last, trainer.on_exception) = (None, None, None);
        }
        _ if !is_on || trainer.strategies.is_some() => {}
        Some("best") => _ = trainer.best.get_or_insert_default(),
        Some("last") => _ = trainer.last.get_or_insert_default(),
        Some("on_exception") => _ = trainer.on_exception.get_or_insert_default(),
        _ => {}
    }
}

/// The deepest known part of a dotted key, and the keys below it; `None` where its first part is unknown.
fn known_keys(json: &Value, key: &str) -> Option<(String, String)> {
    key.rmatch_indices('.').find_map(|(end, _)| {
        let place = &key[..end];
        let keys = listed(json.pointer(&pointer(place))?);
        Some((place.to_owned(), keys))
    })
}

fn listed(json: &Value) -> String {
    match json {
        Value::Object(object) => object.keys().cloned().collect::<Vec<_>>().join(", "),
        Value::Array(array) => format!("the numbers below {}", array.len()),
        _ => "nothing below it".to_owned(),
    }
}

/// A dotted key (`strategies.0.topk`) as a JSON pointer (RFC 6901).
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1").replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TrainArgs;
    use crate::strategy::StrategyConfig;
    use burn_ckpt::retention::MetricMode;

    #[test]
    fn only_keys_that_there_are_can_be_set() {
        let mut trainer = TrainerConfig::default().with_primary_metric("val_loss");
        let mut program = serde_json::json!({ "width": 3 });
        let args = |set: &str| TrainArgs { set: vec![set.to_owned()], ..TrainArgs::default() };
        args("width=4").apply(&mut trainer, &mut program).unwrap();
        assert_eq!(program["width"], 4);
        args("best.topk=3").apply(&mut trainer, &mut program).unwrap();
        args("last.every_n_steps=7").apply(&mut trainer, &mut program).unwrap();
        assert_eq!(trainer.effective_strategies().len(), 3);
        args("strategies.0.mode=\"max\"").apply(&mut trainer, &mut program).unwrap();
        let strategies = trainer.effective_strategies();
        let [StrategyConfig::Best(best), StrategyConfig::Last(last), _] = &strategies[..] else {
            panic!("{strategies:?}")
        };
        assert_eq!((best.topk, best.mode, last.every_n_steps), (3.into(), Some(MetricMode::Max), Some(7)));
        let error = args("widht=4").apply(&mut trainer, &mut program).unwrap_err().to_string();
        assert!(error.contains("the program has width") && error.contains("max_epochs"), "{error}");
    }
}
