//! In which direction each metric is better, where that is known.

use burn_ckpt::retention::MetricMode;
use indexmap::IndexMap;

use super::{MetricTable, TRAIN, VALID};

impl MetricTable {
    /// Sets the metrics, by burn's names, of which it is not known whether lower or higher is better. burn's
    /// attributes always say one.
    pub(crate) fn set_undirected(&mut self, names: Vec<String>) {
        self.undirected = names;
    }

    /// Whether a metric's attributes say whether lower or higher is better, by burn's name of it.
    pub(in crate::metrics) fn is_directed(&self, name: &str) -> bool {
        !self.undirected.iter().any(|undirected| undirected == name)
    }

    /// In which direction each metric with a value is better, by its full name. The attributes of a metric in
    /// burn say whether higher is better, and default to yes. "Higher" is stored as it is said, "lower" only
    /// of a metric that the validation has too: the learning rate says it too, and is not a score.
    pub(crate) fn directions(&self) -> IndexMap<String, MetricMode> {
        let (values, mut directions) = (self.whole_values(), IndexMap::new());
        for metric in self.registered.values() {
            let names = [TRAIN, VALID].map(|split| metric.name_in(split));
            let is_validated = names[1].as_ref().is_some_and(|name| values.contains_key(name));
            let mode = metric.mode.filter(|mode| is_validated || *mode == MetricMode::Max);
            let named = names.into_iter().flatten().filter(|name| values.contains_key(name));
            directions.extend(named.filter_map(|name| Some((name, mode?))));
        }
        directions
    }
}
