//! A set of values that a run has logged.

use burn_ckpt::metrics_log::csv::RowPlace;
use burn_ckpt::metrics_log::{Line, LineSpeed};
use indexmap::IndexMap;

/// The values of one moment.
#[derive(Debug, Clone)]
pub struct Values {
    pub place: RowPlace,
    pub metrics: IndexMap<String, f64>,
    /// `None` in most lines of a log, and in a history.
    pub speed: Option<LineSpeed>,
}

impl From<Line> for Values {
    fn from(line: Line) -> Self {
        Self { place: RowPlace::from(&line), metrics: line.metrics, speed: line.speed }
    }
}

/// Whether two values of a metric are one that was written twice: as text, and as bytes.
pub fn is_same(one: f64, other: f64) -> bool {
    // Infinities have no difference.
    let is_near = || (one - other).abs() <= f64::EPSILON * one.abs().max(other.abs());
    one == other || (one.is_finite() && other.is_finite() && is_near())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_itself_as_written_by_two_writers_also_if_it_is_infinite() {
        assert!(is_same(0.1 + 0.2, 0.3) && is_same(f64::INFINITY, f64::INFINITY));
        assert!(
            !is_same(0.1, 0.2) && !is_same(f64::INFINITY, f64::NEG_INFINITY) && !is_same(f64::INFINITY, 1.0)
        );
    }
}
