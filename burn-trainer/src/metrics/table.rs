//! The metrics of a run under the names that settings and metadata use (`val_loss`), with their latest
//! values.
//!
//! `logger` fills the table on the thread of burn's event processor; the loop and the strategies read it.

mod directions;
mod sets;

use std::sync::Arc;

use burn::train::metric::store::{MetricsUpdate, Split};
use burn::train::metric::{MetricAttributes, MetricDefinition, MetricId, MetricName, NumericEntry};
use burn_ckpt::plumbing::same_file_name;
use burn_ckpt::retention::MetricMode;
use indexmap::{IndexMap, IndexSet};
use parking_lot::{Mutex, MutexGuard};

use super::name_digest::digest;
pub(crate) use sets::MetricsOf;

const TRAIN: &str = "train";
const VALID: &str = "val";

/// The registered metrics of a run, and the value of each that was logged last.
#[derive(Debug, Default, Clone)]
pub(crate) struct MetricTable {
    registered: IndexMap<MetricId, RegisteredMetric>,
    values: IndexMap<String, f64>,
    /// The metrics that this process has logged as numbers, or before a resume in the training split of the
    /// epoch in progress. Some have a value at the end of an epoch only.
    logged: IndexSet<String>,
    /// Those that a validation has logged which was tried.
    tried: IndexSet<String>,
    /// See [`set_undirected`](Self::set_undirected).
    undirected: Vec<String>,
    /// While a validation is under way, the values of the one before.
    before_validation: Option<IndexMap<String, f64>>,
}

#[derive(Debug, Clone)]
struct RegisteredMetric {
    /// burn's name of the metric.
    name: MetricName,
    key: String,
    /// The named validation set that it is of. `None`: of the training and of the main validation set.
    set: Option<String>,
    mode: Option<MetricMode>,
    /// Whether burn has it among its numbers.
    is_number: bool,
    /// Whether the metric has logged a number. A metric that declares no direction may be text until then.
    has_numbers: bool,
}

impl RegisteredMetric {
    fn is_numeric(&self) -> bool {
        self.is_number || self.has_numbers
    }

    /// Its full name in a split, if it is of that split.
    fn name_in(&self, split: &str) -> Option<String> {
        (self.set.is_none() || split == VALID).then(|| named(split, &self.key))
    }
}

/// A numeric metric of one split, by our name and by burn's.
pub(super) struct NumericMetric {
    pub(super) full_name: String,
    pub(super) id: MetricId,
    pub(super) split: Split,
}

/// A [`MetricTable`] that the logger's thread fills and the loop reads.
#[derive(Debug, Default, Clone)]
pub(crate) struct SharedMetrics(Arc<Mutex<MetricTable>>);

impl SharedMetrics {
    pub(crate) fn lock(&self) -> MutexGuard<'_, MetricTable> {
        self.0.lock()
    }
}

impl MetricTable {
    /// The latest values, in the order in which the metrics were first logged.
    pub(crate) fn values(&self) -> &IndexMap<String, f64> {
        &self.values
    }

    /// The same without those of a validation that is under way, or was stopped: of a part of its data. Those
    /// of the one before are in their place.
    pub(crate) fn whole_values(&self) -> IndexMap<String, f64> {
        let Some(before) = &self.before_validation else { return self.values.clone() };
        let of_training = self.values.iter().filter(|(name, _)| !is_of_validation(name));
        of_training.chain(before).map(|(name, value)| (name.clone(), *value)).collect()
    }

    pub(super) fn validation_values(&self) -> IndexMap<String, f64> {
        let values = self.values.iter().filter(|(name, _)| is_of_validation(name));
        values.map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// A validation begins. A metric that it does not log has no value after it.
    pub(super) fn begin_validation(&mut self) {
        let before = self.values.extract_if(.., |name, _| is_of_validation(name)).collect();
        self.before_validation.get_or_insert(before);
    }

    /// It is done.
    pub(super) fn end_validation(&mut self) {
        self.before_validation = None;
    }

    /// Restores the values of a resumed run. They stand until newer ones are logged. `is_trained`: those of
    /// the training split are of the epoch in progress.
    pub(crate) fn restore(&mut self, values: IndexMap<String, f64>, is_trained: bool) {
        let of_training = values.keys().filter(|name| is_trained && name.starts_with(TRAIN));
        self.logged = of_training.cloned().collect();
        self.values = values;
    }

    /// Drops restored values of metrics that are not registered now: nothing would ever replace them. Returns
    /// their names.
    pub(crate) fn drop_unregistered(&mut self) -> Vec<String> {
        let names = self.names();
        self.values.extract_if(.., |name, _| !names.contains(name)).map(|(name, _)| name).collect()
    }

    /// All names that settings can use: each registered metric for both splits, as burn does not say for
    /// which.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names_of(|_| true)
    }

    /// Those of them that an error offers: of metrics that say of themselves that they are numbers.
    pub(crate) fn numeric_names(&self) -> Vec<String> {
        self.names_of(RegisteredMetric::is_numeric)
    }

    fn names_of(&self, filter: impl Fn(&RegisteredMetric) -> bool) -> Vec<String> {
        let metrics: Vec<_> = self.registered.values().filter(|metric| filter(metric)).collect();
        let names =
            [TRAIN, VALID].iter().flat_map(|split| metrics.iter().map(|metric| metric.name_in(split)));
        names.flatten().collect()
    }

    /// The metrics that this process has logged as numbers. Values from before a resume are not among them.
    pub(crate) fn logged(&self) -> &IndexSet<String> {
        &self.logged
    }

    /// The metrics that a validation has logged as numbers which was tried: their values are not kept.
    pub(crate) fn tried(&self) -> &IndexSet<String> {
        &self.tried
    }

    pub(super) fn note_tried(&mut self, update: &MetricsUpdate) {
        let metrics = update.entries_numeric.iter();
        let registered = metrics.filter_map(|metric| self.registered.get(&metric.entry.metric_id));
        self.tried.extend(registered.map(|metric| named(VALID, &metric.key)));
    }

    /// burn's names of the metrics.
    pub(crate) fn burns_names(&self) -> Vec<MetricName> {
        self.registered.values().map(|metric| Arc::clone(&metric.name)).collect()
    }

    /// The full name of a metric that a setting names (`val_loss`, `val/loss`, `Val Loss`), with the
    /// direction that the metric declares. `None` when no such metric is registered.
    pub(crate) fn find(&self, written: &str) -> Option<(String, Option<MetricMode>)> {
        let exact = self.registered.values().find_map(|metric| {
            let split = [TRAIN, VALID].into_iter().find(|split| {
                let name = written.strip_prefix(split).and_then(|rest| rest.strip_prefix(['_', '/', ' ']));
                name == Some(metric.name.as_str())
            })?;
            Some((metric.name_in(split)?, metric.mode))
        });
        if exact.is_some() {
            return exact;
        }
        let searched = slug(written);
        self.registered.values().find_map(|metric| {
            [TRAIN, VALID]
                .into_iter()
                .filter_map(|split| metric.name_in(split))
                .find(|name| *name == searched)
                .map(|name| (name, metric.mode))
        })
    }

    /// The full name of each metric on data of another name than those of training. [`split_name`] gives that
    /// name.
    pub(crate) fn names_in(&self, split: &str) -> IndexMap<MetricId, String> {
        self.registered.iter().map(|(id, metric)| (id.clone(), named(split, &metric.key))).collect()
    }

    /// The metrics that have numbers, for both splits.
    pub(super) fn numeric(&self) -> Vec<NumericMetric> {
        let metrics = || self.registered.iter().filter(|(_, metric)| metric.is_numeric());
        let of = |split: Split, prefix: &'static str| {
            metrics().filter_map(move |(id, metric)| {
                let full_name = metric.name_in(prefix)?;
                Some(NumericMetric { full_name, id: id.clone(), split: split.clone() })
            })
        };
        of(Split::Train, TRAIN).chain(of(Split::Valid, VALID)).collect()
    }

    pub(super) fn is_numeric(&self, id: &MetricId) -> bool {
        self.registered.get(id).is_some_and(|metric| metric.is_number)
    }

    /// The full name of a metric, by burn's name of it.
    pub(super) fn full_name(&self, name: &str, split: &Split) -> Option<String> {
        let metric = self.registered.values().find(|metric| *metric.name == name)?;
        Some(named(prefix(split)?, &metric.key))
    }

    /// Registers a metric, of a named validation set if one is given.
    pub(crate) fn register(&mut self, definition: &MetricDefinition, set: Option<String>, is_directed: bool) {
        let is_number = matches!(definition.attributes, MetricAttributes::Numeric(_));
        let mode = match &definition.attributes {
            _ if !is_directed => None,
            MetricAttributes::Numeric(numeric) if numeric.higher_is_better => Some(MetricMode::Max),
            MetricAttributes::Numeric(_) => Some(MetricMode::Min),
            MetricAttributes::None => None,
        };
        let (name, key) = (Arc::clone(&definition.name), base(&definition.name));
        let metric = RegisteredMetric { name, key, set, mode, is_number, has_numbers: false };
        self.registered.insert(definition.metric_id.clone(), metric);
        self.tell_apart();
    }

    /// Adds digests to keys that would fall together, but for that of a metric which has the key as its name.
    /// Keys stay the same in whichever order metrics are registered.
    fn tell_apart(&mut self) {
        let bases: Vec<String> = self.registered.values().map(|metric| base(&metric.name)).collect();
        for (metric, own) in self.registered.values_mut().zip(&bases) {
            let is_shared = bases.iter().filter(|base| same_file_name(base, own)).count() > 1;
            metric.key = match is_shared && metric.name.as_str() != own {
                true => format!("{own}_{}", digest(&metric.name)),
                false => own.clone(),
            };
        }
    }

    /// The values of one training batch.
    pub(super) fn values_of_batch(&self, update: &MetricsUpdate) -> IndexMap<String, f64> {
        let values = update.entries_numeric.iter().filter_map(|metric| {
            let registered = self.registered.get(&metric.entry.metric_id)?;
            let value = metric.numeric_entry.clone().and_then(value_of_batch)?;
            Some((named(TRAIN, &registered.key), value))
        });
        values.collect()
    }

    pub(super) fn update(&mut self, update: &MetricsUpdate, split: &Split) {
        let Some(split) = prefix(split) else { return };
        for metric in &update.entries_numeric {
            let Some(registered) = self.registered.get_mut(&metric.entry.metric_id) else { continue };
            registered.has_numbers = true;
            let full_name = named(split, &registered.key);
            self.logged.insert(full_name.clone());
            // The final value at the end of an epoch, else the average over the epoch so far.
            let value = match (&metric.numeric_entry, &metric.running_entry) {
                (Some(NumericEntry::Final(value)), _) => *value,
                (_, Some(running)) => running.current(),
                (Some(entry), None) => entry.current(),
                (None, None) => continue,
            };
            self.values.insert(full_name, value);
        }
    }
}

/// The value of a batch. That of a whole epoch is not one.
pub(super) fn value_of_batch(entry: NumericEntry) -> Option<f64> {
    match entry {
        NumericEntry::Final(_) => None,
        entry => Some(entry.current()),
    }
}

fn prefix(split: &Split) -> Option<&'static str> {
    match split {
        Split::Train => Some(TRAIN),
        Split::Valid => Some(VALID),
        Split::Test(_) => None,
    }
}

/// Whether a metric is one of the validation, by its full name.
pub(crate) fn is_of_validation(name: &str) -> bool {
    name.strip_prefix(VALID).is_some_and(|rest| rest.starts_with('_'))
}

fn named(split: &str, key: &str) -> String {
    format!("{split}_{key}")
}

/// What begins the names of metrics on data of this name: `Test set` -> `test_set`. `None` for a name without
/// a letter or digit.
pub(crate) fn split_name(name: &str) -> Option<String> {
    Some(slug(name)).filter(|slug| !slug.is_empty())
}

/// The key of a metric whose name no other is like.
fn base(name: &str) -> String {
    split_name(name).unwrap_or_else(|| "metric".to_owned())
}

/// `Top-K Accuracy @ k=5` -> `top_k_accuracy_k_5`: lower case, with one `_` for everything between letters
/// and digits. A point between two digits stays.
fn slug(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut slug = String::with_capacity(name.len());
    for (i, &c) in chars.iter().enumerate() {
        let digit_at = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
        if c.is_alphanumeric() {
            slug.extend(c.to_lowercase());
        } else if c == '.' && digit_at(i.checked_sub(1)) && digit_at(Some(i + 1)) {
            slug.push('.');
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::train::metric::NumericAttributes;

    pub(super) fn definition(name: &str) -> MetricDefinition {
        let name = Arc::new(name.to_owned());
        MetricDefinition {
            metric_id: MetricId::new(name.clone()),
            name,
            description: None,
            attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better: false }),
        }
    }

    #[test]
    fn burns_names_become_plain_ones() {
        for (name, expected) in [
            ("Loss", "loss"),
            ("Top-K Accuracy @ k=5", "top_k_accuracy_k_5"),
            ("FBetaScore (0.5) @ [Macro]", "fbetascore_0.5_macro"),
            ("val/loss", "val_loss"),
            ("..", ""),
            ("a\nb", "a_b"),
        ] {
            assert_eq!(slug(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_metric_is_found_however_it_is_written() {
        let mut table = MetricTable::default();
        table.register(&definition("Loss"), None, true);
        for written in ["val_loss", "val/loss", "Val Loss"] {
            assert_eq!(
                table.find(written),
                Some(("val_loss".to_owned(), Some(MetricMode::Min))),
                "{written}"
            );
        }
        for unknown in ["loss", "val_accuracy", "", "..", "test_loss"] {
            assert_eq!(table.find(unknown), None, "{unknown}");
        }
        assert_eq!(table.names(), ["train_loss", "val_loss"]);
    }

    #[test]
    fn names_that_fall_together_have_a_digest_whatever_their_order() {
        let keys = |names: &[&str]| {
            let mut table = MetricTable::default();
            names.iter().for_each(|name| table.register(&definition(name), None, true));
            let key = |metric: &RegisteredMetric| (metric.name.to_string(), metric.key.clone());
            (table.registered.values().map(key).collect::<IndexMap<_, _>>(), table)
        };
        let (all, table) = keys(&["a b", "a-b", "a_b", "!", "?", "a b", "Loss"]);
        assert_eq!((&*all["a_b"], &*all["Loss"]), ("a_b", "loss"));
        let different: std::collections::HashSet<&String> = all.values().collect();
        assert_eq!((different.len(), all.len()), (6, 6), "{all:?}");
        assert!(all["a b"].starts_with("a_b_") && all["!"].starts_with("metric_"), "{all:?}");
        let (again, _) = keys(&["?", "Loss", "a_b", "!", "a-b", "a b"]);
        assert!(again.iter().all(|(name, key)| all[name] == *key), "{again:?}");
        // A name as it stands is found, and one that two metrics could have is not.
        assert_eq!(table.find("val_a-b").unwrap().0, format!("val_{}", all["a-b"]));
        assert_eq!(table.find("val/a_b").unwrap().0, "val_a_b");
        assert_eq!(table.find(&format!("val_{}", all["a b"])).unwrap().0, format!("val_{}", all["a b"]));
        assert_eq!(keys(&["a b", "a-b"]).1.find("val_a_b"), None);
    }
}
