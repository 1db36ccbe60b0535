//! What `--set` says of a value that a setting does not take: what it takes, with an example that it takes.

use burn_ckpt::plumbing::{SerializedValue, ValueError, shell_word};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::parts::parts_of_absent;

/// The longest example.
const MAX_EXAMPLE: usize = 60;

/// What is wrong with a value, in the words of the user. `error` is that of the type.
pub(super) fn wrong_value<T: DeserializeOwned>(
    fields: &SerializedValue,
    key: &str,
    error: &ValueError,
) -> String {
    let read = |value| fields.with(key, value).map(|changed| T::deserialize(&changed));
    let takes = match read(SerializedValue::Unreadable) {
        Some(Err(taken)) if taken.expected().is_some() && taken.expected() == error.expected() => taken,
        // It is of the right type, and a part of it is wrong; or the type says itself what it takes.
        _ => return error.to_string(),
    };
    let is_taken =
        |value: &Value| SerializedValue::of(value).is_ok_and(|value| matches!(read(value), Some(Ok(_))));
    if takes.expects_object() {
        return about_parts::<T>(fields, key, is_taken);
    }
    let expected = takes.expected().unwrap_or_default();
    let or_null = if is_taken(&Value::Null) { ", or null" } else { "" };
    let now = fields.find(key).and_then(|now| Value::deserialize(&now).ok());
    let now = now.filter(|now| !now.is_null() && *now != json!([]));
    let text = expected.split_once('|').map_or("abc", |(first, _)| first);
    let candidates = [json!(10), json!(0.5), json!(true), json!(text), json!([text])];
    let example = now.into_iter().chain(candidates).find(|value| is_taken(value)).map(|value| word(&value));
    match example.filter(|example| example.len() <= MAX_EXAMPLE && *example != expected) {
        Some(example) => {
            format!("it takes {expected}{or_null}, as in --set {}", shell_word(&format!("{key}={example}")))
        }
        None => format!("it takes {expected}{or_null}"),
    }
}

/// Of a setting that has settings itself.
fn about_parts<T: DeserializeOwned>(
    fields: &SerializedValue,
    key: &str,
    is_taken: impl Fn(&Value) -> bool,
) -> String {
    let now = fields.find(key).unwrap_or(SerializedValue::Null);
    let of_absent = parts_of_absent::<T>(fields, key);
    if !of_absent.is_empty() {
        let (first, all) = (of_absent[0], of_absent.join(", "));
        return format!("it takes an object with {all}, as in --set '{key}={{\"{first}\": ..}}'");
    }
    let parts = now.parts();
    let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
    let simple = parts.iter().filter_map(|(name, value)| {
        let value = Value::deserialize(*value).ok()?;
        let is_simple = value.is_number() || value.is_boolean() || value.is_string();
        (is_simple && name != "kind").then_some((name, value))
    });
    let Some((name, value)) = simple.into_iter().next() else {
        return format!("it takes an object with {}", names.join(", "));
    };
    let whole = json!({ name: value });
    let whole = is_taken(&whole).then(|| format!(", or several, as in --set '{key}={whole}'"));
    format!(
        "it has settings of its own ({}): set one, as in --set {}{}",
        names.join(", "),
        shell_word(&format!("{key}.{name}={}", word(&value))),
        whole.unwrap_or_default()
    )
}

/// A value as `--set` takes it: a text without quotes.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::set::{set, spell_out};
    use crate::config::TrainerConfig;

    fn trainer() -> TrainerConfig {
        let mut trainer = TrainerConfig::default().with_primary_metric("val_loss");
        ["best", "last", "on_exception"].into_iter().for_each(|key| spell_out(&mut trainer, key));
        trainer
    }

    fn said(assignment: &str) -> Option<String> {
        set(assignment, &mut trainer(), &mut json!({})).err().map(|error| error.to_string())
    }

    /// The dotted keys of a value's parts, and of their parts.
    fn keys(place: &str, value: &SerializedValue) -> Vec<String> {
        let below = |(name, part): (String, &SerializedValue)| {
            let key = if place.is_empty() { name } else { format!("{place}.{name}") };
            let parts = keys(&key, part);
            std::iter::once(key).chain(parts).collect::<Vec<_>>()
        };
        value.parts().into_iter().flat_map(below).collect()
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_said_in_the_words_of_a_user_for_every_setting() {
        let mut trainer = trainer();
        let mut all = keys("", &SerializedValue::of(&trainer).unwrap());
        spell_out(&mut trainer, "strategies");
        all.extend(keys("", &SerializedValue::of(&trainer).unwrap()));
        assert!(all.len() > 60 && all.iter().any(|key| key == "strategies.1"), "{all:?}");
        let (mut wrong, mut in_words_of_rust) = (0, Vec::new());
        for key in all {
            for value in [
                "5",
                "-1",
                "1.5",
                "abc",
                "true",
                "null",
                "[1]",
                "{\"zz\": 1}",
                "[{}]",
                "300000000000000000000",
            ] {
                let Some(reason) = said(&format!("{key}={value}")) else { continue };
                wrong += 1;
                for word in ["struct", "size", "u64", "f64", "i64", "enum", "variant", "invalid", "tagged"] {
                    let text = reason.split_once(" cannot be used: ").unwrap().1;
                    let is_there = text.split(|letter: char| !letter.is_alphanumeric()).any(|it| it == word);
                    in_words_of_rust.extend(is_there.then(|| reason.clone()));
                }
                // What it says to write can be written.
                if let Some((_, example)) =
                    reason.split_once("as in --set ").filter(|_| !reason.contains("..}"))
                {
                    let example = example.split(", or several").next().unwrap().trim_matches('\'');
                    assert_eq!(said(example), None, "{reason}");
                }
            }
        }
        assert!(in_words_of_rust.is_empty(), "{in_words_of_rust:#?}");
        assert!(wrong > 300, "{wrong}");
    }

    #[test]
    fn what_a_setting_takes_has_an_example() {
        for (assignment, expected) in [
            (
                "best=5",
                "it has settings of its own (metric, mode, topk, filename, dirpath, save_symlink, save_weights_only): set one, as \
                 in --set best.topk=1, or several, as in --set 'best={\"topk\":1}'",
            ),
            ("early_stopping=5", "it takes an object with metric, mode, "),
            ("best={\"topkk\": 1}", "\"topkk\" is not one of its fields: metric, mode, "),
            ("early_stopping={\"patience\": 3}", "a metric is a name (\"val_loss\"), or "),
            ("strategies=[{\"topk\": 3}]", "the field \"kind\" is missing"),
            ("max_epochs=many", "it takes a whole number from 0, as in --set max_epochs=1"),
            ("max_steps=-1", "it takes a whole number from 0, or null, as in --set max_steps=10"),
            ("overwrite=5", "it takes true or false, as in --set overwrite=false"),
            ("end_with=first", "it takes last|best, as in --set end_with=last"),
            ("best.topk=many", "topk must be a whole number above 0, or \"all\""),
        ] {
            let said = said(assignment).unwrap();
            assert!(said.contains(&format!("cannot be used: {expected}")), "{said}");
        }
    }
}
