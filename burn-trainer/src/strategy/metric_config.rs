//! A metric as a configuration names it.

use burn_ckpt::retention::MetricMode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A metric's name, and whether lower or higher is better where it does not say so itself.
///
/// In JSON a name, or an object: `"val_loss"`, `{"name": "val_loss", "mode": "min"}`.
///
/// ```
/// use burn_trainer::strategy::{MetricConfig, MetricMode};
///
/// let metric = MetricConfig::new("val_bleu").with_mode(MetricMode::Max);
/// assert_eq!(serde_json::from_str::<MetricConfig>(r#"{"name": "val_bleu", "mode": "max"}"#)?, metric);
/// assert_eq!(serde_json::from_str::<MetricConfig>(r#""val_loss""#)?, "val_loss".into());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricConfig {
    /// The metric's name, with its split (`val_loss`, `train_accuracy`).
    pub name: String,
    /// Whether lower or higher is better; by default what the metric says of itself.
    pub mode: Option<MetricMode>,
}

impl MetricConfig {
    /// A metric that says of itself whether lower or higher is better, as burn's do.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), mode: None }
    }

    /// Sets whether lower or higher is better.
    #[must_use]
    pub fn with_mode(mut self, mode: MetricMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Whether lower or higher is better, as stated here or in a setting `mode` beside the metric.
    ///
    /// # Errors
    ///
    /// What is wrong with that setting, where the two differ.
    pub(crate) fn mode_with(&self, beside: Option<MetricMode>) -> Result<Option<MetricMode>, String> {
        match (self.mode, beside) {
            (Some(own), Some(beside)) if own != beside => Err(format!(
                "it is {:?}, and the metric {} is given with the mode {:?}: leave out one of the two",
                in_json(beside),
                self.name,
                in_json(own)
            )),
            (own, beside) => Ok(beside.or(own)),
        }
    }
}

fn in_json(mode: MetricMode) -> &'static str {
    match mode {
        MetricMode::Min => "min",
        MetricMode::Max => "max",
    }
}

impl<S: Into<String>> From<S> for MetricConfig {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}

/// Both fields, as they stand in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameAndMode {
    name: String,
    mode: Option<MetricMode>,
}

impl Serialize for MetricConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.mode {
            None => to.serialize_str(&self.name),
            mode => NameAndMode { name: self.name.clone(), mode }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for MetricConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Name(String),
            Both(NameAndMode),
        }
        match Given::deserialize(from) {
            Ok(Given::Name(name)) => Ok(Self::new(name)),
            Ok(Given::Both(NameAndMode { name, mode })) => Ok(Self { name, mode }),
            Err(_) => Err(serde::de::Error::custom(
                "a metric is a name (\"val_loss\"), or {\"name\": \"val_loss\", \"mode\": \"min\"}",
            )),
        }
    }
}
