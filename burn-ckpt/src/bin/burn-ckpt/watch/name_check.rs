//! Whether a run that is being watched will have a checkpoint of the name that is asked for, as far as its
//! first checkpoint says.

use std::path::Path;

use burn_ckpt::plumbing::{link_names, metric_name, run_at};
use burn_ckpt::{Catalog, RunLayout};
use serde_json::Value;

use crate::terminal::printable::in_one_line;

/// The names that a run has or will have, if this one is not among them. `None` before its first checkpoint:
/// then nothing is known.
pub enum NameCheck {
    NotYet,
    Fine,
    Missing(Vec<String>),
}

/// Looks at a run once. What cannot be read is not known: the watch reports errors itself.
pub fn check(run: &Path, wanted: &str) -> NameCheck {
    let layout = run_at(run).ok().flatten().unwrap_or_else(|| RunLayout::at(run));
    let newest = Catalog::scan(&layout).ok().and_then(|catalog| catalog.entries.into_iter().next_back());
    let Some(newest) = newest else { return NameCheck::NotYet };
    let mut names = names_of_strategies(&newest.metadata.trainer_config);
    if names.is_empty() {
        // Not a trainer's: what else it will save is not known.
        return NameCheck::Fine;
    }
    for link in link_names(&layout).unwrap_or_default() {
        if !names.iter().any(|name| is_same(name, &link)) {
            names.push(link);
        }
    }
    match wanted == "best" || names.iter().any(|name| is_same(name, wanted)) {
        true => NameCheck::Fine,
        false => NameCheck::Missing(names.iter().map(|name| in_one_line(name)).collect()),
    }
}

/// The names of the links that the strategies of a configuration keep.
fn names_of_strategies(trainer_config: &Value) -> Vec<String> {
    let primary = metric_name(&trainer_config["primary_metric"]);
    let strategies = trainer_config["strategies"].as_array();
    let named = strategies.into_iter().flatten().filter_map(|strategy| match strategy["kind"].as_str()? {
        "best" => Some(format!("best_{}", metric_name(&strategy["metric"]).or(primary)?)),
        "last" => Some("last".to_owned()),
        _ => None,
    });
    named.collect()
}

/// A configuration may write a metric in another way than its link: `Val Loss`, `val/loss`. Their words are
/// the same.
fn is_same(one: &str, other: &str) -> bool {
    let words = |name: &str| -> Vec<String> {
        let words = name.split(|letter: char| !letter.is_alphanumeric());
        words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_names_are_those_of_the_strategies_however_a_metric_is_written() {
        let config = json!({
            "primary_metric": "Val Loss",
            "strategies": [
                { "kind": "best", "metric": null },
                { "kind": "best", "metric": { "name": "val/accuracy", "mode": "max" } },
                { "kind": "last" },
                { "kind": "on_exception" },
            ],
        });
        let names = names_of_strategies(&config);
        assert_eq!(names, ["best_Val Loss", "best_val/accuracy", "last"]);
        assert!(is_same("best_Loss  (val)", "best_Loss_val_"));
        assert!(is_same(&names[0], "best_val_loss") && !is_same(&names[0], "best_val_los"));
        assert!(names_of_strategies(&Value::Null).is_empty());
    }
}
