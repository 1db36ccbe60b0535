//! The bodies of requests, within MLflow's limits.

use std::collections::HashSet;
use std::sync::LazyLock;

use burn_ckpt::metrics_log::Line;
use burn_ckpt::plumbing::with_named_strategies;
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::callbacks::RunInfo;
use crate::config::OF_THE_START;
use crate::trackers::flattened::{flattened, text_of};
use crate::trackers::scalar_name::scalar_name;

/// Metrics and parameters in one request.
pub(super) const MAX_METRICS: usize = 1000;
pub(super) const MAX_PARAMS: usize = 100;
/// Characters of a name, of a parameter's value and of a tag's, as far as all versions of MLflow accept them.
const MAX_KEY: usize = 250;
const MAX_PARAM: usize = 500;
const MAX_TAG: usize = 5000;
/// What the names of settings of the trainer begin with.
const SETTING: &str = "trainer.";
/// What is neither a letter nor a number for Python, whose `\w` decides: Rust has marks among the letters.
static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[^\p{L}\p{N}]").ok());

/// A value of a metric.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Metric {
    pub(super) key: String,
    /// What it is called in the log.
    #[serde(skip)]
    pub(super) name: String,
    value: Value,
    timestamp: i64,
    pub(super) step: u64,
}

impl Metric {
    /// The value as [`bits_of`] gives it.
    pub(super) fn bits(&self) -> u64 {
        bits_of(&self.value)
    }
}

/// The bits of a value as it is sent, and as an answer has it. MLflow stores infinite ones as the largest
/// number that there is. All NaN are one.
pub(super) fn bits_of(value: &Value) -> u64 {
    let text = match value {
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        value => value.as_f64().unwrap_or(f64::NAN),
    };
    if text.is_nan() { f64::NAN.to_bits() } else { text.clamp(f64::MIN, f64::MAX).to_bits() }
}

/// The values of lines, with a time for those lines that have none.
pub(super) fn metrics(lines: &[Line], without_time: Timestamp) -> Vec<Metric> {
    let of_line = |line: &Line| -> Vec<Metric> {
        // That of the line: the same value of the same time is one value for MLflow, so that a request may be
        // repeated.
        let timestamp = line.time.unwrap_or(without_time).as_millisecond();
        let metrics = line.metrics.iter().map(|(name, value)| Metric {
            key: key(&scalar_name(line, name)),
            name: name.clone(),
            value: number(*value),
            timestamp,
            step: line.step,
        });
        metrics.collect()
    };
    lines.iter().flat_map(of_line).collect()
}

/// The step of a metric in an answer, where a number of 64 bits may be a text.
pub(super) fn step_of(metric: &Value) -> Option<u64> {
    match &metric["step"] {
        // The first step is left out as 0 may be.
        Value::Null => Some(0),
        Value::String(step) => step.parse().ok(),
        step => step.as_u64(),
    }
}

/// Parameters: hyperparameters, and the trainer's settings as `trainer.*`. Each name once.
pub(super) fn params(run: &RunInfo) -> Vec<Value> {
    let mut keys = HashSet::new();
    let all = all_params(run).into_iter().map(|(name, value)| (key(&name), value));
    let param = |(key, value): (String, String)| json!({ "key": key, "value": shortened(&value, MAX_PARAM) });
    all.filter(|(key, _)| keys.insert(key.clone())).map(param).collect()
}

/// The names of all parameters, on the server and here.
pub(super) fn names_of_params(run: &RunInfo) -> Vec<(String, String)> {
    all_params(run).into_iter().map(|(name, _)| (key(&name), name)).collect()
}

fn all_params(run: &RunInfo) -> Vec<(String, String)> {
    let hparams = flattened(&run.hparams).into_iter();
    let config = with_named_strategies(&run.trainer_config);
    let settings = flattened(&config).into_iter().filter(|(_, value)| !value.is_null());
    let settings = settings.map(|(name, value)| (format!("{SETTING}{name}"), value));
    hparams.chain(settings).map(|(name, value)| (name, text_of(value))).collect()
}

/// The parameters that are others than those on the server, which are of the first start: `lr=0.1, ..`.
pub(super) fn changed_params(on_server: &Value, run: &RunInfo) -> String {
    let now = params(run);
    let value_in = |list: &[Value], key: &Value| {
        list.iter().find(|param| param["key"] == *key).map(|param| text_of(&param["value"]))
    };
    let before = on_server.as_array().map(Vec::as_slice).unwrap_or_default();
    // What else is there may be a user's.
    let is_setting = |param: &&Value| text_of(&param["key"]).starts_with(SETTING);
    let gone = before.iter().filter(is_setting).filter(|param| value_in(&now, &param["key"]).is_none());
    let gone = gone.map(|param| format!("{}=null", text_of(&param["key"])));
    let changed = now.iter().filter_map(|param| {
        let value = text_of(&param["value"]);
        (value_in(before, &param["key"]).as_ref() != Some(&value))
            .then(|| format!("{}={value}", text_of(&param["key"])))
    });
    let of_the_start = OF_THE_START.map(|field| format!("{SETTING}{field}="));
    let all = changed.chain(gone).filter(|change| !of_the_start.iter().any(|it| change.starts_with(it)));
    all.collect::<Vec<_>>().join(", ")
}

/// The request that makes a run.
pub(super) fn create(run: &RunInfo, experiment: &str, environment: &Value, user: Option<&str>) -> Value {
    let mut tags = vec![tag("burn_trainer.run_id", &run.run_id)];
    let mut add = |name: &str, value: Option<&str>| {
        tags.extend(value.filter(|value| !value.is_empty()).map(|value| tag(name, value)));
    };
    add("burn_trainer.tags", Some(&run.tags.join(", ")));
    add("burn_trainer.project", run.project.as_deref());
    add("mlflow.note.content", run.notes.as_deref());
    add("mlflow.user", user);
    add("mlflow.source.name", environment["rust"]["program"].as_str());
    add("mlflow.source.git.commit", environment["git"]["commit"].as_str());
    add("mlflow.source.git.branch", environment["git"]["branch"].as_str());
    json!({
        "experiment_id": experiment,
        "run_name": run.name.as_deref().unwrap_or(&run.run_id),
        "start_time": run.start.as_millisecond(),
        "tags": tags,
    })
}

pub(super) fn tag(name: &str, value: &str) -> Value {
    json!({ "key": key(name), "value": shortened(value, MAX_TAG) })
}

/// A name that MLflow allows.
fn key(name: &str) -> String {
    let name: String = name.chars().map(|c| if is_allowed(c) { c } else { '_' }).take(MAX_KEY).collect();
    // A path that is not in its shortest form is an error for MLflow, and one that leads upwards.
    let name = match name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        true => name.replace('/', "_"),
        false => name,
    };
    match name.strip_prefix("..") {
        Some(rest) => format!("__{rest}"),
        None if matches!(name.as_str(), "" | ".") => "_".to_owned(),
        None => name,
    }
}

fn is_allowed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/');
    }
    let is_mark = |c: char| MARK.as_ref().is_none_or(|mark| mark.is_match(c.encode_utf8(&mut [0; 4])));
    c.is_alphanumeric() && !is_mark(c)
}

fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 3).chain("...".chars()).collect()
}

/// As Protocol Buffers writes a number in JSON.
fn number(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::metrics_log::{Scope, Split};
    use indexmap::IndexMap;

    #[test]
    fn values_have_the_time_of_their_line_and_names_that_mlflow_allows() {
        let values = IndexMap::from([("val_a@b".to_owned(), f64::NEG_INFINITY), ("val_c".to_owned(), 0.5)]);
        let line = Line::new(7, 1, Split::Valid, Scope::Validation, values)
            .with_time(Timestamp::from_millisecond(1_700_000_000_123).unwrap());
        let text = serde_json::to_string(&metrics(&[line.clone(), line], Timestamp::UNIX_EPOCH)).unwrap();
        let value = |key: &str, value: &str| {
            format!("{{\"key\":\"{key}\",\"value\":{value},\"timestamp\":1700000000123,\"step\":7}}")
        };
        let both = [value("val_a_b", "\"-Infinity\""), value("val_c", "0.5")].join(",");
        assert_eq!(text, format!("[{both},{both}]"));
        assert_eq!(number(f64::NAN), "NaN");
    }

    #[test]
    fn a_line_without_a_time_has_the_same_one_whenever_it_is_sent() {
        let values = IndexMap::from([("val_loss".to_owned(), 0.5)]);
        let line = Line::new(7, 1, Split::Valid, Scope::Validation, values);
        let time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let metrics = metrics(&[line], time);
        assert_eq!((metrics[0].timestamp, metrics[0].name.as_str()), (1_700_000_000_123, "val_loss"));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("äbcdefg", 5), "äb...");
        assert_eq!(key(&"n".repeat(1_000)).len(), MAX_KEY);
        assert_eq!(["a/b", "/a", "a/../b", "a:b"].map(key), ["a/b", "_a", "a_.._b", "a_b"]);
        assert_eq!(
            ["..loss", "...", "../a", "..", ".", "", ".a"].map(key),
            ["__loss", "__.", "___a", "__", "_", "_", ".a"]
        );
        // A vowel sign, and a letter in a circle.
        assert_eq!(["größe²", "損失", "का", "Ⓐ"].map(key), ["größe²", "損失", "क_", "_"]);
        let value = tag("t", &"x".repeat(9_999))["value"].as_str().unwrap().len();
        assert_eq!(value, MAX_TAG);
    }

    #[test]
    fn a_value_is_known_again_in_an_answer() {
        for (value, answered) in [
            (0.1, json!(0.1)),
            (f64::NAN, json!("NaN")),
            (f64::INFINITY, json!(f64::MAX)),
            (f64::NEG_INFINITY, json!("-Infinity")),
            (3.0, json!(3)),
        ] {
            assert_eq!(bits_of(&number(value)), bits_of(&answered), "{value}");
        }
        assert_ne!(bits_of(&json!(0.1)), bits_of(&json!(0.2)));
    }

    #[test]
    fn a_step_is_read_in_each_form() {
        for (metric, step) in [
            (json!({"step": 3}), Some(3)),
            (json!({"step": "3"}), Some(3)),
            (json!({}), Some(0)),
            (json!({"step": "x"}), None),
        ] {
            assert_eq!(step_of(&metric), step, "{metric}");
        }
    }
}
