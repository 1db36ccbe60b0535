//! Whether a run that is being watched will have a checkpoint of the name that is asked for, as far as its
//! newest checkpoint and its log say.

use std::path::Path;

use burn_ckpt::metrics_log::{self, Scope};
use burn_ckpt::plumbing::near_names::{LISTED, SPLITS, did_you_mean};
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, link_name, link_names, metric_name, run_at};
use burn_ckpt::{Catalog, RunLayout};
use indexmap::IndexSet;
use serde_json::Value;

use crate::metrics::names::MAX_METRICS;
use crate::verb_result::Failure;

/// How the names of the links to the best checkpoints begin.
const BEST: &str = "best_";

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The name of the link.
    pub link: String,
    /// The metric, where that is what was named.
    metric: Option<String>,
}

impl Wanted {
    /// By a metric, or by the name of a link.
    pub fn of(named: &str) -> Self {
        match named == "best" || named == "last" || named.starts_with(BEST) {
            true => Self { link: named.to_owned(), metric: None },
            false => Self { link: format!("{BEST}{named}"), metric: Some(named.to_owned()) },
        }
    }
}

/// What a look at a run says of a name.
#[derive(Debug)]
pub struct NameCheck {
    /// Whether further looks say no more.
    pub is_final: bool,
    /// What a user is told who waits for it.
    pub line: Option<String>,
}

/// Looks at a run once. What cannot be read is not known: the watch reports errors itself.
///
/// # Errors
///
/// When the strategies of the run do not save what is wanted; or, where they are not known, when it is a
/// metric that the run has not logged in a whole epoch, and the name is near those that it logs.
pub fn check(run: &Path, wanted: &Wanted) -> Result<NameCheck, Failure> {
    let layout = run_at(run).ok().flatten().unwrap_or_else(|| RunLayout::at(run));
    let newest = Catalog::scan(&layout).ok().and_then(|catalog| catalog.entries.into_iter().next_back());
    let Some(newest) = newest else {
        return Ok(NameCheck { is_final: false, line: not_logged(&layout, wanted)? });
    };
    let links = link_names(&layout).unwrap_or_default();
    let own = link_name(&wanted.link).ok();
    let own = own.as_ref().and_then(|name| name.strip_suffix(CHECKPOINT_SUFFIX));
    if links.iter().any(|link| Some(link.as_str()) == own) {
        return Ok(NameCheck { is_final: true, line: None });
    }
    let Some(mut names) = names_of_strategies(&newest.metadata.trainer_config) else {
        // A strategy of the program's own says no names.
        if wanted.link == "best" {
            return Ok(NameCheck { is_final: true, line: None });
        }
        let links = if links.is_empty() { "none".to_owned() } else { links.join(", ") };
        let waiting =
            || format!("waiting for a checkpoint saved as {}: so far there are {links}", wanted.link);
        let line = not_logged(&layout, wanted)?.unwrap_or_else(waiting);
        return Ok(NameCheck { is_final: true, line: Some(line) });
    };
    // A link says how its name is written: `best_val_loss`, and not `best_val-loss`.
    let may_come = names.iter().any(|name| is_same(name, &wanted.link));
    if may_come && !links.iter().any(|link| is_same(link, &wanted.link)) {
        return Ok(NameCheck { is_final: false, line: None });
    }
    for link in links {
        match names.iter_mut().find(|name| is_same(name, &link)) {
            Some(name) => *name = link,
            None => names.push(link),
        }
    }
    let bests = names.iter().filter(|name| name.starts_with(BEST)).count();
    if wanted.link == "best" && bests == 1 {
        return Ok(NameCheck { is_final: true, line: None });
    }
    let metrics =
        names.iter().filter_map(|name| name.strip_prefix(BEST).or((name == "last").then_some(name)));
    let near = did_you_mean(wanted.link.strip_prefix(BEST).unwrap_or_default(), metrics);
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Failure::Other(format!(
        "the run saves no checkpoint as {}; it has, or will have, {names}{near}",
        wanted.link
    )))
}

/// The line that says that a metric was not logged in a whole epoch. `None` if it was, or nothing is known
/// yet.
///
/// # Errors
///
/// When its name is near those that were logged.
fn not_logged(layout: &RunLayout, wanted: &Wanted) -> Result<Option<String>, Failure> {
    let Some(metric) = &wanted.metric else { return Ok(None) };
    let Ok(lines) = metrics_log::read(layout.run_dir()) else { return Ok(None) };
    let mut logged = IndexSet::new();
    let (mut has_epoch, mut has_validation) = (false, false);
    for line in lines.of_epochs().filter_map(Result::ok) {
        has_epoch |= line.scope == Scope::Epoch;
        has_validation |= line.scope == Scope::Validation;
        // A log can be hostile.
        logged.extend(line.metrics.into_keys().take(MAX_METRICS - logged.len()));
    }
    // A metric of the other split can come later.
    let [of_training, of_validation] = SPLITS.map(|split| metric.starts_with(split));
    let is_whole = (has_epoch || of_validation) && (has_validation || of_training);
    if !is_whole || logged.iter().any(|name| is_same(name, metric)) {
        return Ok(None);
    }
    let mut names = logged.iter().map(String::as_str).take(LISTED).collect::<Vec<_>>().join(", ");
    if logged.len() > LISTED {
        names.push_str(&format!(", and {} more", logged.len() - LISTED));
    }
    let near = did_you_mean(metric, logged.iter().map(String::as_str));
    match near.is_empty() {
        true => Ok(Some(format!("waiting for the metric {metric}: so far the run logs {names}"))),
        false => Err(Failure::Other(format!("the run logs no metric {metric}; it logs {names}{near}"))),
    }
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
