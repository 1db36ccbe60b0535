//! The warnings that wait for the end of the dashboard, as it shows them: their number above its status, and
//! the first one among the metrics, as burn has no place for lines.

use std::sync::Arc;

use burn::train::metric::{MetricAttributes, MetricDefinition, MetricEntry, MetricId, SerializedEntry};
use burn::train::renderer::{MetricState, MetricsRenderer};

use super::figures::count;
use crate::process::console::held_back::{Warnings, warnings};

const NAME: &str = "First warning";

/// What burn's dashboard has to be told together with the number of warnings.
#[derive(Debug, Default)]
pub(super) struct ShownWarnings {
    shown: usize,
    epochs: usize,
    epoch: usize,
    /// That of the program.
    label: Option<String>,
}

impl ShownWarnings {
    /// Training starts.
    pub(super) fn start(&mut self, epochs: usize, epoch: usize, label: Option<&str>) {
        (self.epochs, self.epoch, self.label) = (epochs, epoch, label.map(str::to_owned));
    }

    pub(super) fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch;
    }

    /// The warnings, if there are more than are shown.
    pub(super) fn due(&self) -> Option<Warnings> {
        Some(warnings()).filter(|warnings| warnings.count > self.shown)
    }

    /// Gives them to burn's dashboard.
    pub(super) fn draw(&mut self, warnings: Warnings, burns: &mut dyn MetricsRenderer) {
        if let (0, Some(first)) = (self.shown, warnings.first) {
            let metric_id = MetricId::new(Arc::new(format!("burn-trainer {NAME}")));
            burns.register_metric(MetricDefinition {
                metric_id: metric_id.clone(),
                name: Arc::new(NAME.to_owned()),
                description: None,
                attributes: MetricAttributes::None,
            });
            let entry = MetricEntry::new(metric_id, SerializedEntry::new(first, String::new()));
            burns.update_train(MetricState::Generic(entry));
        }
        self.shown = warnings.count;
        let number = count(self.shown as u64, "warning");
        let label = self.label.as_ref().map_or(number.clone(), |label| format!("{label}, {number}"));
        burns.start(self.epochs, self.epoch, None, Some(&label));
    }
}
