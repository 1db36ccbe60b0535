//! In which direction a metric is better, as far as a run says it, and which metric ranks its checkpoints.

use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, link_name, metric_name as name_of};
use burn_ckpt::retention::MetricMode;
use serde_json::Value;

use crate::ls::listing::Row;

/// The mode that a part of a configuration states.
fn mode_of(part: &Value) -> Option<MetricMode> {
    serde_json::from_value(part["mode"].clone()).ok()
}

/// In which direction a metric is better, as a run states it: in the state of its newest checkpoint, in its
/// configuration, or in the state of its best checkpoint; or else as the metric declares it.
pub fn stated_mode(rows: &[&Row], config: &Value, state: &Value, metric: &str) -> Option<MetricMode> {
    ranking_mode(rows, config, state, metric).or_else(|| declared_mode(state, metric))
}

/// The same without what the metric itself declares: a strategy, or the user, has said it. Nothing is removed
/// by what a metric declares, as burn takes it that higher is better where its author has said nothing.
pub fn ranking_mode(rows: &[&Row], config: &Value, state: &Value, metric: &str) -> Option<MetricMode> {
    // The newest state of an earlier version has the modes of those strategies alone that it was saved for.
    let of_best_state = || {
        let best = rows.iter().find(|row| is_best_by(row, metric))?;
        // One that cannot be read is reported when it is opened.
        let state = Checkpoint::open(&best.path).and_then(|checkpoint| checkpoint.trainer_state()).ok()?;
        noted_mode(&state, metric)
    };
    noted_mode(state, metric).or_else(|| configured_mode(config, metric)).or_else(of_best_state)
}

/// The mode that the metric declares, if a state has it. It is good enough to sort by.
fn declared_mode(trainer_state: &Value, metric: &str) -> Option<MetricMode> {
    serde_json::from_value(trainer_state["directions"][metric].clone()).ok()
}

/// The mode of the strategy that ranks by the metric, if a state says it.
pub fn noted_mode(trainer_state: &Value, metric: &str) -> Option<MetricMode> {
    let modes = trainer_state["modes"].as_object()?;
    // `best:val_loss`, or `best:val_loss:DIRPATH`.
    let ranks_by_metric = |strategy: &str| {
        let ranked_by = strategy.split_once(':').map(|(_, ranked_by)| ranked_by);
        let rest = ranked_by.and_then(|ranked_by| ranked_by.strip_prefix(metric));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    let (_, mode) = modes.iter().find(|(strategy, _)| ranks_by_metric(strategy))?;
    serde_json::from_value(mode.clone()).ok()
}

/// Whether the run's link to the best checkpoint by a metric leads to this one.
pub fn is_best_by(row: &Row, metric: &str) -> bool {
    let Ok(link) = link_name(&format!("best_{metric}")) else { return false };
    let link = link.strip_suffix(CHECKPOINT_SUFFIX);
    row.links.iter().any(|name| Some(name.as_str()) == link)
}

/// The mode that a trainer's configuration states for a metric: that of the strategy `best` that ranks by it,
/// of the primary metric, or of early stopping.
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
    let early = &trainer_config["early_stopping"];
    let of_early = || (name_of(&early["metric"]) == Some(metric)).then(|| of_strategy(early)).flatten();
    let of_strategies = strategies.into_iter().flatten().filter(ranks_by_metric).find_map(of_strategy);
    of_strategies.or_else(of_primary).or_else(of_early)
}

/// The mode by which the checkpoint that the run's `best` link points to is the best of all checkpoints.
pub fn mode_of_best_link(rows: &[&Row], metric: &str, asked: Option<MetricMode>) -> Option<MetricMode> {
    let value =
        |row: &Row| row.metadata.as_ref()?.metrics.get(metric).copied().filter(|value| !value.is_nan());
    let best = value(rows.iter().find(|row| is_best_by(row, metric))?)?;
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
    use burn_ckpt::plumbing::primary_metric;

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
        let early = |early_stopping: Value| serde_json::json!({ "early_stopping": early_stopping });
        let config = early(serde_json::json!({ "metric": "val_f1", "mode": "max" }));
        assert_eq!(configured_mode(&config, "val_f1"), Some(MetricMode::Max));
        assert_eq!(configured_mode(&config, "val_loss"), None);
        let config = serde_json::json!({ "primary_metric": { "name": "val_bleu", "mode": "max" } });
        assert_eq!(configured_mode(&config, "val_bleu"), Some(MetricMode::Max));
        assert_eq!((configured_mode(&config, "val_loss"), primary_metric(&config)), (None, Some("val_bleu")));
        assert_eq!(primary_metric(&Value::Null), None);
    }
}
