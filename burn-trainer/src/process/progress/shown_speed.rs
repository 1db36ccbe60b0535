//! How fast a run trains, as it is shown: in the lines of progress, and on the dashboard beside the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::renderer::{MetricState, MetricsRenderer};

use super::figures::{significant, span};

/// Time between two points on the dashboard.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gives the speed of the training in progress, whenever it is to be shown. `None` before there is one.
pub(crate) type SpeedSource = Arc<dyn Fn() -> Option<ShownSpeed> + Send + Sync>;

/// The speed of an epoch's training.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ShownSpeed {
    /// `None` where the loader does not count items.
    pub(crate) items_per_second: Option<f64>,
    pub(crate) steps_per_second: f64,
    /// Of the time, waiting for data.
    pub(crate) data_share: f64,
    /// Of the time, handing over saves.
    pub(crate) save_share: f64,
    /// Until the run ends. `None` if that is not known yet.
    pub(crate) left: Option<Duration>,
}

impl ShownSpeed {
    /// `1,234 items/s  19.3 steps/s  data 12 %  saves 0 %`.
    pub(crate) fn line(&self) -> String {
        let items = self.items_per_second.map(|rate| format!("{} items/s  ", significant(rate)));
        let Self { steps_per_second, data_share, save_share, .. } = *self;
        format!(
            "{}{} steps/s  data {:.0} %  saves {:.0} %",
            items.unwrap_or_default(),
            significant(steps_per_second),
            100.0 * data_share,
            100.0 * save_share
        )
    }

    /// `, 12 min left`.
    pub(crate) fn time_left(&self) -> String {
        self.left.map_or_else(String::new, |left| format!(", {} left", span(left.as_secs_f64())))
    }

    /// The values for the dashboard, in the order of [`DashboardSpeed::NAMES`].
    fn values(&self) -> [Option<f64>; 4] {
        let Self { items_per_second, steps_per_second, data_share, save_share, .. } = *self;
        [items_per_second, Some(steps_per_second), Some(100.0 * data_share), Some(100.0 * save_share)]
    }
}

/// The speed on burn's dashboard, as numbers beside the metrics. They are drawn and go nowhere else: a metric
/// that burn knows would be in the metric files, which are the same in each run.
pub(crate) struct DashboardSpeed {
    drawn: Option<Instant>,
}

impl DashboardSpeed {
    /// Name and unit of each number, and whether a higher one is better.
    const NAMES: [(&'static str, &'static str, bool); 4] = [
        ("Items per second", "items/s", true),
        ("Steps per second", "steps/s", true),
        ("Waiting for data", "%", false),
        ("Waiting for saves", "%", false),
    ];

    pub(crate) fn new() -> Self {
        Self { drawn: None }
    }

    fn id(name: &str) -> MetricId {
        MetricId::new(Arc::new(format!("burn-trainer {name}")))
    }

    /// What the dashboard has to know before the first numbers.
    pub(crate) fn definitions() -> impl Iterator<Item = MetricDefinition> {
        Self::NAMES.into_iter().map(|(name, unit, higher_is_better)| {
            let attributes = NumericAttributes { unit: Some(unit.to_owned()), higher_is_better };
            MetricDefinition {
                metric_id: Self::id(name),
                name: Arc::new(name.to_owned()),
                description: None,
                attributes: MetricAttributes::Numeric(attributes),
            }
        })
    }

    /// Whether it is time for the next numbers.
    pub(crate) fn is_due(&mut self) -> bool {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= INTERVAL);
        if is_due {
            self.drawn = Some(Instant::now());
        }
        is_due
    }

    /// Gives the numbers to burn's dashboard.
    pub(crate) fn draw(speed: &ShownSpeed, burns: &mut dyn MetricsRenderer) {
        for ((name, unit, _), value) in Self::NAMES.into_iter().zip(speed.values()) {
            let Some(value) = value else { continue };
            let formatted = format!("epoch {} {unit}", significant(value));
            let entry = MetricEntry::new(Self::id(name), SerializedEntry::new(formatted, value.to_string()));
            burns.update_train(MetricState::Numeric(entry, Some(NumericEntry::Value(value))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_part_of_a_line() {
        let speed = ShownSpeed {
            items_per_second: Some(1234.5),
            steps_per_second: 19.288,
            data_share: 0.123,
            save_share: 0.004,
            left: Some(Duration::from_secs(3 * 3600 + 301)),
        };
        assert_eq!(speed.line(), "1234 items/s  19.29 steps/s  data 12 %  saves 0 %");
        assert_eq!(speed.time_left(), ", 3 h 5 min left");
        let uncounted = ShownSpeed { items_per_second: None, left: None, ..speed };
        assert_eq!(uncounted.line(), "19.29 steps/s  data 12 %  saves 0 %");
        assert_eq!(uncounted.time_left(), "");
    }
}
