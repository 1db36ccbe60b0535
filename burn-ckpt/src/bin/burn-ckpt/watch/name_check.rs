//! Whether a run that is being watched will have a checkpoint of the name that is asked for, as far as its
//! first checkpoint says.

use std::path::Path;

use burn_ckpt::plumbing::{link_names, metric_name, run_at};
use burn_ckpt::{Catalog, RunLayout};
use serde_json::Value;

use crate::verb_result::Failure;

/// Looks at a run once. Returns whether its checkpoints say which names it has and will have: before the
/// first one nothing is known. What cannot be read is not known either: the watch reports errors itself.
///
/// # Errors
///
/// When the wanted name is not among them.
pub fn check(run: &Path, wanted: &str) -> Result<bool, Failure> {
    let layout = run_at(run).ok().flatten().unwrap_or_else(|| RunLayout::at(run));
    let newest = Catalog::scan(&layout).ok().and_then(|catalog| catalog.entries.into_iter().next_back());
    let Some(newest) = newest else { return Ok(false) };
    let Some(mut names) = names_of_strategies(&newest.metadata.trainer_config) else { return Ok(true) };
    for link in link_names(&layout).unwrap_or_default() {
        if !names.iter().any(|name| is_same(name, &link)) {
            names.push(link);
        }
    }
    let bests = names.iter().filter(|name| name.starts_with("best_")).count();
    if names.iter().any(|name| is_same(name, wanted)) || (wanted == "best" && bests == 1) {
        return Ok(true);
    }
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Failure::Other(format!("the run saves no checkpoint as {wanted}; it has, or will have, {names}")))
}

/// The names of the links that the strategies of a configuration keep. `None` if that is not known: it is not
/// a trainer's, or a strategy is a program's own.
fn names_of_strategies(trainer_config: &Value) -> Option<Vec<String>> {
    let primary = metric_name(&trainer_config["primary_metric"]);
    let mut names = Vec::new();
    for strategy in trainer_config["strategies"].as_array()? {
        match strategy["kind"].as_str()? {
            "best" => names.push(format!("best_{}", metric_name(&strategy["metric"]).or(primary)?)),
            "last" => names.push("last".to_owned()),
            "on_exception" => {}
            _ => return None,
        }
    }
    Some(names)
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
        let names = names_of_strategies(&config).unwrap();
        assert_eq!(names, ["best_Val Loss", "best_val/accuracy", "last"]);
        assert!(is_same("best_Loss  (val)", "best_Loss_val_"));
        assert!(is_same(&names[0], "best_val_loss") && !is_same(&names[0], "best_val_los"));
        assert_eq!(names_of_strategies(&Value::Null), None);
        assert_eq!(names_of_strategies(&json!({ "strategies": [{ "kind": "mine" }] })), None);
    }
}
