//! `--help` with the keys of `--set`: what each takes, and its default.

use burn_ckpt::plumbing::SerializedValue;
use clap::Parser;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::parts::parts_of_absent;
use super::spell_out;
use crate::config::TrainerConfig;

/// The longest default that is shown whole.
const MAX_DEFAULT: usize = 40;

/// Parses a program's arguments, in place of clap's `parse`. `--help` then lists the keys of `--set` with
/// what they take and their defaults, which are those of the two configurations given here.
///
/// Ends the process as clap's `parse` does: after `--help`, and with status 2 for wrong usage.
///
/// The [module's page](crate::cli) has an example.
pub fn parse<A: Parser, C: Serialize + DeserializeOwned>(trainer: &TrainerConfig, program: &C) -> A {
    let command = with_keys(A::command(), trainer, program);
    let parsed = A::from_arg_matches(&command.clone().get_matches());
    parsed.unwrap_or_else(|error| error.format(&mut command.clone()).exit())
}

fn with_keys<C: Serialize + DeserializeOwned>(
    command: clap::Command,
    trainer: &TrainerConfig,
    program: &C,
) -> clap::Command {
    let mut trainer = trainer.clone();
    ["best", "last", "on_exception"].into_iter().for_each(|key| spell_out(&mut trainer, key));
    let mut text = "Keys of --set, with their defaults and what they take:\n\n".to_owned();
    // A type of the program can say anything.
    let (program, trainer) = (rows(program, |_| None), rows(&trainer, said_by_type));
    let width = program.iter().chain(&trainer).map(|row| row.key.len()).max().unwrap_or(0);
    for (title, rows) in [("The program:", program), ("The trainer:", trainer)] {
        text.push_str(title);
        for Row { key, default, takes } in rows {
            text.push_str(&format!("\n  {key:width$}  {default}  ({takes})"));
        }
        text.push_str("\n\n");
    }
    let before = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let text = text.trim_end();
    command.after_long_help(before.map_or(text.to_owned(), |before| format!("{text}\n\n{before}")))
}

/// One key of `--set`.
struct Row {
    key: String,
    default: String,
    takes: String,
}

/// `said` finds what a field takes in its type's own message.
fn rows<T: Serialize + DeserializeOwned>(config: &T, said: fn(&str) -> Option<&str>) -> Vec<Row> {
    let Ok(fields) = SerializedValue::of(config) else { return Vec::new() };
    let mut leaves = Vec::new();
    collect_leaves("", &fields, &mut leaves);
    let row = |(key, value): (String, SerializedValue)| {
        // What a field takes is what its type says of something that it does not take.
        let reading = |value| fields.with(&key, value).map(|changed| T::deserialize(&changed));
        let mut takes = match reading(SerializedValue::Unreadable)? {
            // The type does not read it.
            Ok(_) => return None,
            Err(error) => match error.expected() {
                Some(expected) => expected.to_owned(),
                None => said(&error.to_string()).unwrap_or_else(|| kind(&value)).to_owned(),
            },
        };
        let parts = parts_of_absent::<T>(&fields, &key);
        if !parts.is_empty() {
            takes = format!("JSON with {}", parts.join(", "));
        }
        if matches!(reading(SerializedValue::Null), Some(Ok(_))) {
            takes.push_str(", or null");
        }
        Some(Row { default: shown(&value), key, takes })
    };
    leaves.into_iter().filter_map(row).collect()
}

/// The fields with their dotted keys. A list is one field.
fn collect_leaves(place: &str, value: &SerializedValue, leaves: &mut Vec<(String, SerializedValue)>) {
    match value.inner() {
        SerializedValue::Map(entries) if !entries.is_empty() => {
            for (name, part) in value.parts() {
                let key = if place.is_empty() { name } else { format!("{place}.{name}") };
                collect_leaves(&key, part, leaves);
            }
        }
        _ if place.is_empty() => {}
        inner => leaves.push((place.to_owned(), inner.clone())),
    }
}

/// What a type of the trainer's takes, where serde has no word for it: `a time interval is a number of
/// seconds above 0, ..`.
fn said_by_type(message: &str) -> Option<&str> {
    let (_, takes) = message.split_once(" is ").or_else(|| message.split_once(" must be "))?;
    Some(takes)
}

fn kind(value: &SerializedValue) -> &'static str {
    match value {
        SerializedValue::Bool(_) => "true or false",
        SerializedValue::Int(_) | SerializedValue::Large(_) | SerializedValue::Float(_) => "a number",
        SerializedValue::Str(_) => "a text",
        SerializedValue::Seq(_) | SerializedValue::Bytes(_) => "a list",
        _ => "JSON",
    }
}

/// A default as `--set` takes it.
fn shown(value: &SerializedValue) -> String {
    let text = match value.inner() {
        SerializedValue::Str(text) if is_word(text) => text.clone(),
        SerializedValue::Float(number) if !number.is_finite() => number.to_string(),
        value => serde_json::Value::deserialize(value).map(|json| json.to_string()).unwrap_or_default(),
    };
    match text.char_indices().nth(MAX_DEFAULT) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// Whether a text stands for itself.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c))
        && serde_json::from_str::<serde_json::Value>(text).is_err()
}
