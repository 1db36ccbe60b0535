//! The named validation sets of a run, and the names that metrics have on them.
//!
//! burn has one validation split, and one object for each metric. A validation runs over the sets one after
//! the other, and ends burn's split after each: burn computes the final values and clears the metrics. So the
//! values of each set are its own, but burn gives them all the same name. What gets metrics from burn (the
//! run's metric logger, the display of progress) renames those of a named set: `Loss` on the set `hard` is
//! `hard Loss`, like a metric of its own. What stands behind them knows metrics only.
//!
//! The loop says which set it validates. It waits for burn's threads before it changes to another one.

use std::sync::Arc;

use burn::train::metric::store::{MetricsUpdate, NumericMetricUpdate};
use burn::train::metric::{MetricDefinition, MetricEntry, MetricId, NumericEntry};
use burn::train::renderer::MetricState;
use indexmap::IndexMap;
use parking_lot::Mutex;

/// The named validation sets of a run, and which of them is validated now. Clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct ValidationSets(Arc<Mutex<SharedSets>>);

#[derive(Debug, Default)]
struct SharedSets {
    /// The items of each set, by its name, in the order in which they are validated.
    items: IndexMap<String, u64>,
    /// `None`: the main one.
    current: Option<String>,
    /// By set, the id of each of burn's metrics on it. An id does not give its metric's name.
    ids: IndexMap<String, IndexMap<MetricId, MetricId>>,
}

/// A metric on a named set.
pub(crate) struct MetricOnSet {
    pub(crate) set: String,
    pub(crate) definition: MetricDefinition,
}

impl ValidationSets {
    /// Sets the names, before training. Each comes with the number of items in the set.
    pub(crate) fn define(&self, items: IndexMap<String, u64>) {
        self.0.lock().items = items;
    }

    /// The items of each set, by its name.
    pub(crate) fn items(&self) -> IndexMap<String, u64> {
        self.0.lock().items.clone()
    }

    /// The metrics that burn computes from now on are those of this set, and of the main one without a name.
    pub(crate) fn enter(&self, set: Option<&str>) {
        self.0.lock().current = set.map(str::to_owned);
    }

    /// The named set that is validated now.
    pub(crate) fn current(&self) -> Option<String> {
        self.0.lock().current.clone()
    }

    /// Registers a metric of burn's: gives it a name on each named set.
    pub(crate) fn register(&self, metric: &MetricDefinition) -> Vec<MetricOnSet> {
        let SharedSets { items, ids, .. } = &mut *self.0.lock();
        let on_set = |set: &String| {
            let name = Arc::new(format!("{set} {}", metric.name));
            // Not the name, which can be that of another metric: then the two must be told apart, to be an
            // error.
            let metric_id = MetricId::new(Arc::new(format!("{set}\0{}", metric.name)));
            ids.entry(set.clone()).or_default().insert(metric.metric_id.clone(), metric_id.clone());
            MetricOnSet {
                set: set.clone(),
                definition: MetricDefinition { metric_id, name, ..metric.clone() },
            }
        };
        items.keys().map(on_set).collect()
    }

    /// The ids that a metric of burn's has on the named sets.
    pub(crate) fn on_sets(&self, metric: &MetricId) -> Vec<MetricId> {
        self.0.lock().ids.values().filter_map(|of_set| of_set.get(metric).cloned()).collect()
    }

    /// An update of the validation split, under the names that its metrics have on the set that is validated.
    pub(crate) fn rename_update(&self, update: MetricsUpdate) -> MetricsUpdate {
        let Some(set) = self.current() else { return update };
        let MetricsUpdate { entries, entries_numeric } = update;
        let entries = entries.into_iter().filter_map(|entry| self.rename(&set, entry));
        let numeric = entries_numeric.into_iter().filter_map(|metric| {
            let entry = self.rename_numeric(&set, metric.entry, metric.numeric_entry.as_ref())?;
            Some(NumericMetricUpdate { entry, ..metric })
        });
        MetricsUpdate::new(entries.collect(), numeric.collect())
    }

    /// The same for what burn shows. `None` where there is nothing to show.
    pub(crate) fn rename_state(&self, state: MetricState) -> Option<MetricState> {
        let Some(set) = self.current() else { return Some(state) };
        match state {
            MetricState::Generic(entry) => self.rename(&set, entry).map(MetricState::Generic),
            MetricState::Numeric(entry, number) => {
                let entry = self.rename_numeric(&set, entry, number.as_ref())?;
                Some(MetricState::Numeric(entry, number))
            }
        }
    }

    fn rename(&self, set: &str, entry: MetricEntry) -> Option<MetricEntry> {
        let metric_id = self.0.lock().ids.get(set)?.get(&entry.metric_id)?.clone();
        Some(MetricEntry { metric_id, ..entry })
    }

    /// A metric can have no value on this set: a scalar that its callback logs on others alone. burn gives
    /// NaN for it.
    fn rename_numeric(
        &self,
        set: &str,
        entry: MetricEntry,
        number: Option<&NumericEntry>,
    ) -> Option<MetricEntry> {
        let is_final = matches!(number, Some(NumericEntry::Final(_)));
        let has_value = !(is_final && entry.serialized_entry.is_not_available());
        has_value.then(|| self.rename(set, entry)).flatten()
    }
}

/// Whether a metric is of a named validation set that this run does not have, by its full name.
pub(crate) fn is_of_set(full_name: &str, set: &str) -> bool {
    let name = full_name.strip_prefix("val_").and_then(|name| name.strip_prefix(&set.to_lowercase()));
    name.is_some_and(|metric| metric.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::train::metric::{MetricAttributes, SerializedEntry};

    fn id(name: &str) -> MetricId {
        MetricId::new(Arc::new(name.to_owned()))
    }

    fn sets() -> ValidationSets {
        let sets = ValidationSets::default();
        sets.define(IndexMap::from([("hard".to_owned(), 8), ("noisy".to_owned(), 4)]));
        let attributes = MetricAttributes::None;
        let name = Arc::new("Loss".to_owned());
        let on_sets =
            sets.register(&MetricDefinition { metric_id: id("Loss"), name, description: None, attributes });
        let names: Vec<&str> = on_sets.iter().map(|on_set| on_set.definition.name.as_str()).collect();
        assert_eq!(names, ["hard Loss", "noisy Loss"]);
        sets
    }

    fn update(serialized: &str, number: NumericEntry) -> MetricsUpdate {
        let entry = MetricEntry::new(id("Loss"), SerializedEntry::new(String::new(), serialized.to_owned()));
        let metric = NumericMetricUpdate { entry, numeric_entry: Some(number), running_entry: None };
        MetricsUpdate::new(Vec::new(), vec![metric])
    }

    fn on_set(set: &str) -> MetricId {
        id(&format!("{set}\0Loss"))
    }

    fn ids(update: &MetricsUpdate) -> Vec<MetricId> {
        update.entries_numeric.iter().map(|metric| metric.entry.metric_id.clone()).collect()
    }

    #[test]
    fn a_metric_has_the_name_of_the_set_that_is_validated() {
        let sets = sets();
        for (set, expected) in
            [(None, id("Loss")), (Some("noisy"), on_set("noisy")), (Some("hard"), on_set("hard"))]
        {
            sets.enter(set);
            let renamed = sets.rename_update(update("0.5,8", NumericEntry::Value(0.5)));
            assert_eq!(ids(&renamed), [expected]);
        }
    }

    #[test]
    fn a_metric_without_a_value_on_a_named_set_has_none_there() {
        let sets = sets();
        let nothing = || update(SerializedEntry::NOT_AVAILABLE, NumericEntry::Final(f64::NAN));
        assert_eq!(ids(&sets.rename_update(nothing())), [id("Loss")], "as burn has it");
        sets.enter(Some("hard"));
        assert!(ids(&sets.rename_update(nothing())).is_empty());
        let is_nan = update("NaN,final", NumericEntry::Final(f64::NAN));
        assert_eq!(ids(&sets.rename_update(is_nan)), [on_set("hard")]);
    }
}
