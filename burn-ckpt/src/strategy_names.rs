//! The names of the strategies in a trainer's configuration, and the metric that ranks its checkpoints. The
//! metadata has all strategies as one list, however they were given; a setting is shown under the name by
//! which `--set` changes it.

use serde_json::{Map, Value};

/// The field with the list.
const LIST: &str = "strategies";
/// The field of a strategy that says what it is.
const KIND: &str = "kind";
/// The kinds that have a field of their own in the configuration.
pub const STRATEGY_KINDS: [&str; 3] = ["best", "last", "on_exception"];

/// A trainer's configuration with each strategy under its name: that of its kind (`best.topk`) if it is the
/// only one of that kind, else its place (`strategies.0.topk`).
#[must_use]
pub fn with_named_strategies(trainer_config: &Value) -> Value {
    let Value::Object(fields) = trainer_config else { return trainer_config.clone() };
    let mut named = Map::new();
    for (field, value) in fields {
        match value.as_array().filter(|list| field == LIST && !list.is_empty()) {
            Some(list) => add_strategies(list, &mut named),
            None => _ = named.insert(field.clone(), value.clone()),
        }
    }
    Value::Object(named)
}

/// The primary metric of a trainer's configuration, or else the one by which its first strategy `best` ranks.
#[must_use]
pub fn primary_metric(trainer_config: &Value) -> Option<&str> {
    let strategies = trainer_config["strategies"].as_array().into_iter().flatten();
    let mut ranked_by = strategies.filter(|strategy| strategy["kind"] == "best");
    metric_name(&trainer_config["primary_metric"])
        .or_else(|| ranked_by.find_map(|strategy| metric_name(&strategy["metric"])))
}

/// The name of a metric in a configuration: a text, or an object with its mode.
#[must_use]
pub fn metric_name(metric: &Value) -> Option<&str> {
    metric.as_str().or_else(|| metric["name"].as_str())
}

fn add_strategies(list: &[Value], named: &mut Map<String, Value>) {
    let mut by_place = Map::new();
    for (place, strategy) in list.iter().enumerate() {
        match (own_name(strategy, list), strategy) {
            (Some(kind), Value::Object(fields)) if !named.contains_key(kind) => {
                let mut fields = fields.clone();
                fields.shift_remove(KIND);
                named.insert(kind.to_owned(), Value::Object(fields));
            }
            _ => _ = by_place.insert(place.to_string(), strategy.clone()),
        }
    }
    if !by_place.is_empty() {
        named.insert(LIST.to_owned(), Value::Object(by_place));
    }
}

/// The kind of a strategy, if no other one in the list is of that kind.
fn own_name<'a>(strategy: &'a Value, list: &[Value]) -> Option<&'a str> {
    let kind = strategy[KIND].as_str().filter(|kind| STRATEGY_KINDS.contains(kind))?;
    let same = list.iter().filter(|other| other[KIND] == kind);
    (same.count() == 1).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_strategy_of_a_kind_has_its_name_and_others_their_place() {
        let config = json!({
            "seed": 1,
            "strategies": [
                { "kind": "best", "topk": 1 },
                { "kind": "last", "topk": 2 },
                { "kind": "best", "topk": 3 },
                { "kind": "mine" },
                5,
            ],
            "lock": "off",
        });
        let expected = json!({
            "seed": 1,
            "last": { "topk": 2 },
            "strategies": {
                "0": { "kind": "best", "topk": 1 },
                "2": { "kind": "best", "topk": 3 },
                "3": { "kind": "mine" },
                "4": 5,
            },
            "lock": "off",
        });
        assert_eq!(with_named_strategies(&config), expected);
    }

    #[test]
    fn what_has_no_strategies_stays_as_it_is() {
        for config in [Value::Null, json!([1]), json!({ "strategies": [] }), json!({ "strategies": null })] {
            assert_eq!(with_named_strategies(&config), config);
        }
    }
}
