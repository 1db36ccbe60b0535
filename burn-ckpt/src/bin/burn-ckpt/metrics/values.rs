//! A set of values that a run has logged.

use burn_ckpt::metrics_log::{Line, Scope, Split};
use indexmap::IndexMap;
use jiff::Timestamp;

/// The values of one moment.
#[derive(Debug, Clone)]
pub struct Values {
    /// `None` in a history that does not say it.
    pub step: Option<u64>,
    pub epoch: u64,
    pub split: Split,
    pub scope: Scope,
    pub batch: Option<u64>,
    pub time: Option<Timestamp>,
    pub metrics: IndexMap<String, f64>,
}

impl From<Line> for Values {
    fn from(line: Line) -> Self {
        let Line { step, epoch, split, scope, batch, time, metrics, .. } = line;
        Self { step: Some(step), epoch, split, scope, batch, time, metrics }
    }
}
