//! In which direction a metric is better, as far as a run says it, and which metric ranks its checkpoints.

use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, link_name};
use burn_ckpt::retention::MetricMode;
use serde_json::Value;

use crate::ls::listing::Row;

/// The primary metric of a trainer's configuration, or else the one by which its first strategy `best` ranks.
pub fn primary_metric(trainer_config: &Value) -> Option<&str> {
    let strategies = trainer_config["strategies"].as_array().into_iter().flatten();
    let mut ranked_by = strategies.filter(|strategy| strategy["kind"] == "best");
    name_of(&trainer_config["primary_metric"])
        .or_else(|| ranked_by.find_map(|strategy| name_of(&strategy["metric"])))
}

/// The name of a metric in a configuration: a text, or an object with its mode.
fn name_of(metric: &Value) -> Option<&str> {
    metric.as_str().or_else(|| metric["name"].as_str())
}

/// The mode that a part of a configuration states.
fn mode_of(part: &Value) -> Option<MetricMode> {
    serde_json::from_value(part["mode"].clone()).ok()
}

/// The mode that a trainer's configuration states for a metric: that of the strategy `best` that ranks by it.
pub fn configured_mode(trainer_config: &Value, metric: &str) -> Option<MetricMode> {
    let strategies = trainer_config["strategies"].as_array();
    let ranks_by_metric = |strategy: &&Value| {
        let ranked_by = match &strategy["metric"] {
            Value::Null => &trainer_config["primary_metric"],
            named => named,
        };
        strategy["kind"] == "best" && name_of(ranked_by) == Some(metric)
    };
    let of_strategy = |strategy: &Value| mode_of(strategy).or_else(|| mode_of(&strategy["metric"]));
    let primary = &trainer_config["primary_metric"];
    let of_primary = || (name_of(primary) == Some(metric)).then(|| mode_of(primary)).flatten();
    strategies.into_iter().flatten().filter(ranks_by_metric).find_map(of_strategy).or_else(of_primary)
}

/// The mode by which the checkpoint that the run's `best` link points to is the best of all checkpoints.
pub fn mode_of_best_link(rows: &[&Row], metric: &str, asked: Option<MetricMode>) -> Option<MetricMode> {
    let link = link_name(&format!("best_{metric}")).ok()?;
    let link = link.strip_suffix(CHECKPOINT_SUFFIX)?;
    let value =
        |row: &Row| row.metadata.as_ref()?.metrics.get(metric).copied().filter(|value| !value.is_nan());
    let best = value(rows.iter().find(|row| row.links.iter().any(|name| name == link))?)?;
    let others = || rows.iter().filter_map(|row| value(row));
    match (others().all(|other| other >= best), others().all(|other| other <= best)) {
        // With equal values both modes keep the same checkpoints.
        (true, true) => asked.or(Some(MetricMode::Min)),
        (true, false) => Some(MetricMode::Min),
        (false, true) => Some(MetricMode::Max),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_that_of_the_strategy_that_ranks_by_the_metric() {
        let config = serde_json::json!({
            "primary_metric": "val_loss",
            "strategies": [
                { "kind": "last" },
                { "kind": "best", "metric": null, "mode": "min" },
                { "kind": "best", "metric": "val_accuracy", "mode": "max" },
                { "kind": "best", "metric": "val_other", "mode": null },
            ],
        });
        assert_eq!(configured_mode(&config, "val_loss"), Some(MetricMode::Min));
        assert_eq!(configured_mode(&config, "val_accuracy"), Some(MetricMode::Max));
        assert_eq!(configured_mode(&config, "val_other"), None);
        assert_eq!(configured_mode(&Value::Null, "val_loss"), None);
        assert_eq!(primary_metric(&config), Some("val_loss"));
        let config = serde_json::json!({ "primary_metric": { "name": "val_bleu", "mode": "max" } });
        assert_eq!(configured_mode(&config, "val_bleu"), Some(MetricMode::Max));
        assert_eq!((configured_mode(&config, "val_loss"), primary_metric(&config)), (None, Some("val_bleu")));
        assert_eq!(primary_metric(&Value::Null), None);
    }
}
