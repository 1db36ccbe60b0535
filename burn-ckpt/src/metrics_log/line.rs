//! One line of the log, and its first line, which says what the file is.

use std::fmt;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::speed::LineSpeed;

/// The log's name in the run's directory, where [`read`](super::read) finds it.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// The longest line that is written, and that [`read`](super::read) accepts, in bytes, its line break
/// included.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// What the first line says of the format.
pub(super) const FORMAT: &str = "burn-ckpt metrics";
/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
/// How each log begins.
pub(super) const HEAD_START: &str = "{\"format\":\"burn-ckpt metrics\",";
/// Digits of a second's fraction. All times have the same length, so that two runs that log the same have
/// files of the same length.
const TIME_PRECISION: usize = 3;

/// The data that the values were computed on. [`read`](super::read) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Split {
    /// The training data.
    Train,
    /// The validation data.
    Valid,
}

/// How much data the values of a line cover. [`read`](super::read) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// One training batch.
    Batch,
    /// All training batches of an epoch.
    Epoch,
    /// A whole validation: at the end of an epoch, within one, or before the first step.
    Validation,
}

/// The values that a run has logged at one moment. [`read`](super::read) has an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// The optimizer step, counted from 1. In a line of a batch, the step that uses its gradients. In other
    /// lines, the number of steps that were done.
    pub step: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The data that the values were computed on.
    pub split: Split,
    /// How much data the values cover: a batch, an epoch or a validation.
    pub scope: Scope,
    /// The number of the batch in its epoch, counted from 1. `None` unless the line is of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// When they were logged, in UTC. `None` in lines that were written again from a checkpoint, which does
    /// not have it.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub time: Option<Timestamp>,
    /// How fast the run trained since the line before that says so: in the line of an epoch, and in one of a
    /// batch where that was longer ago. `None` in other lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<LineSpeed>,
    /// The values by the metrics' names, as in a checkpoint's metadata (`train_loss`, `val_loss`).
    #[serde(with = "crate::format::numbers")]
    pub metrics: IndexMap<String, f64>,
}

impl Line {
    /// A line without batch, time and speed.
    #[must_use]
    pub fn new(step: u64, epoch: u64, split: Split, scope: Scope, metrics: IndexMap<String, f64>) -> Self {
        Self { step, epoch, split, scope, batch: None, time: None, speed: None, metrics }
    }

    /// Sets the batch, counted from 1.
    #[must_use]
    pub fn with_batch(mut self, batch: u64) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Sets when the values were logged.
    #[must_use]
    pub fn with_time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets how fast the run trained.
    #[must_use]
    pub fn with_speed(mut self, speed: LineSpeed) -> Self {
        self.speed = Some(speed);
        self
    }
}

/// As it stands in the file, without the line break.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The first line of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) version: u32,
    #[serde(default)]
    pub(super) run_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub(super) time: Option<Timestamp>,
}

/// The first line of a run's log, with its line break.
#[must_use]
pub fn head(run_id: &str, time: Timestamp) -> String {
    let head =
        Head { format: FORMAT.to_owned(), version: VERSION, run_id: run_id.to_owned(), time: Some(time) };
    // A struct of strings and numbers can be written.
    serde_json::to_string(&head).unwrap_or_default() + "\n"
}

/// A time as a log has it.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    format!("{time:.TIME_PRECISION$}")
}

fn write_time<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.serialize_str(&time_text(*time)),
        None => to.serialize_none(),
    }
}

/// What makes a line of values one: other lines are for other readers.
#[derive(Debug)]
pub(super) struct HasMetrics(pub(super) bool);

impl<'de> Deserialize<'de> for HasMetrics {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Keys {
            #[serde(default)]
            metrics: Option<serde::de::IgnoredAny>,
        }
        Keys::deserialize(from).map(|keys| Self(keys.metrics.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_in_the_order_of_the_format_and_comes_back() {
        let time: Timestamp = "2026-11-29T02:00:00.1Z".parse().unwrap();
        let metrics = IndexMap::from([("train_loss".to_owned(), 0.69), ("train_norm".to_owned(), f64::NAN)]);
        let line = Line::new(20, 0, Split::Train, Scope::Batch, metrics).with_batch(5).with_time(time);
        let text = line.to_string();
        assert_eq!(
            text,
            r#"{"step":20,"epoch":0,"split":"train","scope":"batch","batch":5,"time":"2026-11-29T02:00:00.100Z","metrics":{"train_loss":0.69,"train_norm":"NaN"}}"#
        );
        let back: Line = serde_json::from_str(&text).unwrap();
        assert_eq!((back.step, back.batch, back.time), (20, Some(5), Some(time)));
        assert!(back.metrics["train_norm"].is_nan());
        let short = Line::new(7, 1, Split::Valid, Scope::Validation, IndexMap::new()).to_string();
        assert_eq!(short, r#"{"step":7,"epoch":1,"split":"valid","scope":"validation","metrics":{}}"#);
    }

    #[test]
    fn the_first_line_begins_as_readers_expect() {
        let head = head("r1", "2026-11-29T02:00:00Z".parse().unwrap());
        assert!(head.starts_with(HEAD_START) && head.ends_with(".000Z\"}\n"), "{head}");
    }
}
