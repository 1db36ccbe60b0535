//! `--set KEY=VALUE`: any field of the trainer's or the program's configuration, by its dotted key.

pub(super) mod list_keys;
mod parts;
mod shown_assignment;
#[cfg(test)]
mod tests;
mod wrong_value;

use burn_ckpt::plumbing::near_names::did_you_mean;
use burn_ckpt::plumbing::{STRATEGY_KINDS, SerializedValue, ValueError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::parts::{NO_KEY, parts_of_absent};
pub(super) use self::shown_assignment::shown_assignment;
use self::shown_assignment::without_address;
use self::wrong_value::wrong_value;
use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::strategy::{MetricConfig, StrategyConfig};

/// Applies one assignment. Changes no other field, whatever it is: not even one that JSON cannot hold.
pub(super) fn set<C: Serialize + DeserializeOwned>(
    assignment: &str,
    trainer: &mut TrainerConfig,
    program: &mut C,
) -> Result<()> {
    let wrong = |reason: String| {
        let reason = without_address(reason, assignment);
        Error::config(format!("--set {}", shown_assignment(assignment)), reason)
    };
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(wrong("write it as KEY=VALUE".to_owned()));
    };
    let mut values = meanings(text).map_err(|error| {
        wrong(format!("{text:?} is not JSON ({error}); put a text that begins so in quotes of JSON"))
    })?;
    let key = &in_list(trainer, key, &mut values).map_err(wrong)?;
    let to_config = |error: ValueError| wrong(error.to_string());
    spell_out(trainer, key);
    let trainer_fields = SerializedValue::of(trainer).map_err(to_config)?;
    if trainer_fields.find(key).is_some() {
        let primary = trainer.primary_metric.clone();
        assign(trainer, &trainer_fields, key, values).map_err(wrong)?;
        rank_by_primary(trainer, primary.as_ref());
        return Ok(());
    }
    let program_fields = SerializedValue::of(program).map_err(to_config)?;
    if program_fields.find(key).is_some() || is_left_out::<C>(&program_fields, key, &values) {
        return assign(program, &program_fields, key, values).map_err(wrong);
    }
    let known_keys = known_keys::<TrainerConfig>(&trainer_fields, key, &values)
        .or_else(|| known_keys::<C>(&program_fields, key, &values));
    Err(wrong(match known_keys {
        // As far as it goes, the key leads into one of the two.
        Some(known) => known,
        None => {
            let (trainer, program) = (listed(&trainer_fields), listed(&program_fields));
            let known = [&program_fields, &trainer_fields].map(|fields| fields.parts());
            let known = known.iter().flatten().map(|(name, _)| name.as_str());
            let meant = did_you_mean(key, known);
            format!("there is no {key:?}{meant}; the program has {program}; the trainer has {trainer}")
        }
    }))
}

/// A program's configuration with another value of one field.
///
/// # Errors
///
/// A text that says why the field cannot have it.
pub(super) fn with<C: Serialize + DeserializeOwned>(
    program: &C,
    key: &str,
    value: SerializedValue,
) -> Result<C, String> {
    let fields = SerializedValue::of(program).map_err(|error| error.to_string())?;
    let changed = fields
        .with(key, value)
        .ok_or_else(|| format!("the program's configuration has no {key:?}; it has {}", listed(&fields)))?;
    C::deserialize(&changed).map_err(|error| format!("{key}: {error}"))
}

/// What a text can mean, the likeliest first: a value of JSON, or the text itself. `name=5` is a text where
/// the field takes no number.
fn meanings(text: &str) -> Result<Vec<SerializedValue>, serde_json::Error> {
    let as_text = SerializedValue::Str(text.to_owned());
    match serde_json::from_str::<Value>(text) {
        // A text of that form would hide which of its keys is wrong.
        Ok(value) if value.is_object() => Ok(SerializedValue::of(&value).into_iter().collect()),
        Ok(value) => Ok(SerializedValue::of(&value).into_iter().chain([as_text]).collect()),
        // A typing error, not a word.
        Err(error) if text.starts_with(['{', '[', '"']) && !is_template(text) => Err(error),
        Err(_) => Ok(vec![as_text]),
    }
}

/// Whether a text is that of a file name's template, `{epoch}-{val_loss:.4}`: keys of JSON are in quotes.
fn is_template(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// Gives a field the first of the values that its type takes.
fn assign<T: Serialize + DeserializeOwned>(
    config: &mut T,
    fields: &SerializedValue,
    key: &str,
    values: Vec<SerializedValue>,
) -> Result<(), String> {
    let place = |value| fields.with(key, value).ok_or_else(|| format!("there is no {key:?}"));
    if T::deserialize(&place(SerializedValue::Unreadable)?).is_ok() {
        return Err("the program does not read this field from its configuration".to_owned());
    }
    let mut first_error = None;
    for value in values {
        match T::deserialize(&place(value)?) {
            Ok(changed) => {
                *config = changed;
                return Ok(());
            }
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error.map(|error| wrong_value::<T>(fields, key, &error)).unwrap_or_default())
}

/// Whether a key is that of a field which is not written at its present value (serde's
/// `skip_serializing_if`). Not so if any key would do, as in a map.
fn is_left_out<T: Serialize + DeserializeOwned>(
    fields: &SerializedValue,
    key: &str,
    values: &[SerializedValue],
) -> bool {
    let comes_back = |key: &str, value: &SerializedValue| {
        let changed = fields.with(key, value.clone()).and_then(|changed| T::deserialize(&changed).ok());
        changed.and_then(|changed| SerializedValue::of(&changed).ok()?.find(key)).is_some()
    };
    let other = key.rsplit_once('.').map_or(NO_KEY.to_owned(), |(place, _)| format!("{place}.{NO_KEY}"));
    values.iter().any(|value| comes_back(key, value) && !comes_back(&other, value))
}

/// Writes the strategies down that a key leads to, so that there is something to change.
pub(super) fn spell_out(trainer: &mut TrainerConfig, key: &str) {
    match key.split('.').next() {
        // The whole list replaces what the program has adjusted.
        Some("strategies") => {
            if trainer.strategies.is_none() {
                trainer.strategies = Some(trainer.effective_strategies());
            }
            (trainer.best, trainer.last, trainer.on_exception) = (None, None, None);
        }
        _ if trainer.strategies.is_some() => {}
        Some("best") => _ = trainer.best.get_or_insert_default(),
        Some("last") => _ = trainer.last.get_or_insert_default(),
        Some("on_exception") => _ = trainer.on_exception.get_or_insert_default(),
        _ => {}
    }
}

/// Has the strategies that rank by the primary metric rank by the new one. Settings from a checkpoint have
/// its name in each of them.
fn rank_by_primary(trainer: &mut TrainerConfig, before: Option<&MetricConfig>) {
    let (Some(before), Some(now)) = (before, trainer.primary_metric.clone()) else { return };
    if before.name == now.name {
        return;
    }
    for strategy in trainer.strategies.iter_mut().flatten() {
        if let StrategyConfig::Best(best) = strategy
            && best.metric.as_ref().is_some_and(|metric| metric.name == before.name)
        {
            (best.metric, best.mode) = (None, None);
        }
    }
}

/// The key of a field in the list of strategies, for one that names a strategy by its kind (`best.topk`):
/// settings from a checkpoint have that list. Another key stays as it is.
fn in_list(trainer: &TrainerConfig, key: &str, values: &mut [SerializedValue]) -> Result<String, String> {
    let kind = key.split('.').next().unwrap_or_default();
    let Some(strategies) = trainer.strategies.as_ref().filter(|_| STRATEGY_KINDS.contains(&kind)) else {
        return Ok(key.to_owned());
    };
    let of_kind = strategies.iter().enumerate().filter(|(_, strategy)| strategy.kind() == kind);
    let rest = &key[kind.len()..];
    let keys: Vec<String> = of_kind.map(|(place, _)| format!("strategies.{place}{rest}")).collect();
    match keys.as_slice() {
        [] => Ok(key.to_owned()),
        [only] => {
            if rest.is_empty() {
                values.iter_mut().for_each(|value| add_kind(value, kind));
            }
            Ok(only.clone())
        }
        several => {
            Err(format!("the run has {} strategies {kind}: write {}", several.len(), several.join(" or ")))
        }
    }
}

/// Adds what a strategy in the list has beside its settings.
fn add_kind(value: &mut SerializedValue, kind: &str) {
    if let SerializedValue::Map(entries) = value {
        let text = |text: &str| SerializedValue::Str(text.to_owned());
        entries.push((text("kind"), text(kind)));
    }
}

/// What the deepest known part of a dotted key has; `None` where its first part is unknown.
fn known_keys<T: DeserializeOwned>(
    fields: &SerializedValue,
    key: &str,
    values: &[SerializedValue],
) -> Option<String> {
    key.rmatch_indices('.').find_map(|(end, _)| {
        let (place, rest) = (&key[..end], &key[end + 1..]);
        let value = fields.find(place)?;
        let parts = parts_of_absent::<T>(fields, place);
        if parts.is_empty() {
            return Some(format!("{place} has {}", listed(&value)));
        }
        let whole = |value: &SerializedValue| {
            let whole = SerializedValue::Map(vec![(SerializedValue::Str(rest.to_owned()), value.clone())]);
            let reads = fields.with(place, whole.clone()).is_some_and(|all| T::deserialize(&all).is_ok());
            let json = || Value::deserialize(&whole).ok();
            if reads { json() } else { None }
        };
        let example = match values.iter().find_map(whole) {
            Some(json) => json.to_string(),
            None => format!("{{\"{}\": ..}}", parts[0]),
        };
        let parts = parts.join(", ");
        Some(format!("{place} is null, and so set as a whole: --set '{place}={example}'; it has {parts}"))
    })
}

fn listed(fields: &SerializedValue) -> String {
    match fields.inner() {
        SerializedValue::Map(_) => {
            fields.parts().into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(", ")
        }
        SerializedValue::Seq(items) => format!("the numbers below {}", items.len()),
        _ => "nothing below it".to_owned(),
    }
}
