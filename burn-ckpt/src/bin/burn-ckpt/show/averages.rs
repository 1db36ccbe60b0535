//! The averages in a checkpoint, in a line each: of several checkpoints, and of the parameters over the steps
//! of a run. Each says since which step.

use burn_ckpt::Section;
use burn_ckpt::plumbing::{MAX_JSON_VALUES, parse_json};
use serde_json::Value;

use crate::terminal::figures::{count, number};

/// The section of `burn-ckpt average`, and its string.
pub const OF_CHECKPOINTS: &str = "user.average";
const SOURCES: &str = "sources";
/// The section of the trainer's moving average, unless it has another name, and the string that says what it
/// is.
const MOVING: &str = "user.ema";
const VALUE: &str = "callback.value";
/// The most steps that are listed.
const SHOWN_STEPS: usize = 8;

/// The average that a section is. `None` for another section, or one that does not say since when.
pub fn of_section(name: &str, section: &Section) -> Option<String> {
    let json = |key: &str| -> Option<Value> {
        let text = section.strings.get(key)?;
        parse_json(text.as_bytes(), MAX_JSON_VALUES).ok()
    };
    match name {
        OF_CHECKPOINTS => of_checkpoints(&json(SOURCES)?),
        MOVING => moving(&json(VALUE)?),
        _ => {
            let name = name.strip_prefix(Section::USER_PREFIX)?;
            Some(format!("{name}: {}", moving(&json(VALUE)?)?))
        }
    }
}

fn of_checkpoints(sources: &Value) -> Option<String> {
    let sources = sources.as_array()?;
    let steps = sources.iter().map(|source| source["global_step"].as_u64());
    let mut steps = steps.collect::<Option<Vec<u64>>>()?;
    steps.sort_unstable();
    let (since, last) = (steps.first()?, steps.last()?);
    let listed = steps.iter().take(SHOWN_STEPS).map(u64::to_string).collect::<Vec<_>>().join(", ");
    let more = if steps.len() > SHOWN_STEPS { format!(", .., {last}") } else { String::new() };
    Some(format!("the mean of {} since step {since}: steps {listed}{more}", count(steps.len(), "checkpoint")))
}

fn moving(value: &Value) -> Option<String> {
    let (since, decay) = (value["since_step"].as_u64()?, value["decay"].as_f64()?);
    let every = match value["every_n_steps"].as_u64()? {
        1 => "each step".to_owned(),
        steps => format!("each {steps} steps"),
    };
    let validates = if value["validates"].as_bool()? { ", with which the run validates" } else { "" };
    Some(format!("a moving one over {every} since step {since}, decay {}{validates}", number(decay)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(key: &str, text: &str) -> Section {
        let mut section = Section::new();
        section.strings.insert(key.to_owned(), text.to_owned());
        section
    }

    #[test]
    fn an_average_of_many_checkpoints_names_the_first_steps_and_the_last() {
        let sources = |steps: u64| {
            let all: Vec<Value> =
                (1..=steps).rev().map(|step| serde_json::json!({ "global_step": 10 * step })).collect();
            of_section(OF_CHECKPOINTS, &section(SOURCES, &Value::from(all).to_string()))
        };
        assert_eq!(sources(2).unwrap(), "the mean of 2 checkpoints since step 10: steps 10, 20");
        let many = sources(12).unwrap();
        assert!(many.ends_with("since step 10: steps 10, 20, 30, 40, 50, 60, 70, 80, .., 120"), "{many}");
        assert_eq!(sources(0), None);
    }

    #[test]
    fn what_says_nothing_of_steps_has_no_line() {
        for text in ["", "{", "[1]", r#"[{"global_step": -1}]"#, r#"{"decay": 0.9}"#] {
            assert_eq!(of_section(OF_CHECKPOINTS, &section(SOURCES, text)), None, "{text}");
            assert_eq!(of_section(MOVING, &section(VALUE, text)), None, "{text}");
        }
        assert_eq!(of_section("user.mine", &section(SOURCES, "[]")), None);
    }
}
