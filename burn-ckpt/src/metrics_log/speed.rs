//! How fast a run trained, as some lines of the log say it.

use serde::{Deserialize, Serialize};

/// How fast a run trained between two lines of its log that say so, over all that the loop did.
/// [`read`](super::read) has an example of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LineSpeed {
    /// Items a second, validations left out. `None` where nothing was trained, or the loader does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items_per_second: Option<f64>,
    /// Optimizer steps a second, validations left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps_per_second: Option<f64>,
    /// The part of the time in which the loop waited for training data, from 0 to 1.
    pub data_share: f64,
    /// The part of the time that handing over saves took, from 0 to 1.
    pub save_share: f64,
    /// Seconds of the save that took longest, of those that have ended: beside the loop, until the checkpoint
    /// was durable. `None` where none has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_seconds: Option<f64>,
}

impl LineSpeed {
    /// Rates, and parts of the time, each with four digits: more are chance.
    #[must_use]
    pub fn new(items: Option<f64>, steps: Option<f64>, data_share: f64, save_share: f64) -> Self {
        Self {
            items_per_second: items.map(rounded),
            steps_per_second: steps.map(rounded),
            data_share: rounded(data_share),
            save_share: rounded(save_share),
            save_seconds: None,
        }
    }

    /// Sets the seconds of the longest save.
    #[must_use]
    pub fn with_save_seconds(mut self, seconds: Option<f64>) -> Self {
        self.save_seconds = seconds.map(rounded);
        self
    }
}

/// A number with four digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_short_and_what_is_not_known_is_left_out() {
        let speed = LineSpeed::new(Some(652.123_456), None, 0.027_312_34, 0.0);
        let text = serde_json::to_string(&speed).unwrap();
        assert_eq!(text, r#"{"items_per_second":652.1,"data_share":0.02731,"save_share":0.0}"#);
        assert_eq!(serde_json::from_str::<LineSpeed>(&text).unwrap(), speed);
        let text = serde_json::to_string(&speed.with_save_seconds(Some(0.041_239_9))).unwrap();
        assert!(text.ends_with(r#","save_share":0.0,"save_seconds":0.04124}"#), "{text}");
    }
}
