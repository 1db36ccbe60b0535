//! Which metrics are of a named validation set, and whether each has a name of its own.

use burn_ckpt::plumbing::same_file_name;

use super::{MetricTable, RegisteredMetric, VALID, base, is_of_validation, named};
use crate::error::{Error, Result};

/// Metrics that are logged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsOf<'a> {
    All,
    Training,
    /// Of all validation sets.
    Validation,
    /// Of one validation set. `None`: the main one.
    Set(Option<&'a str>),
}

impl MetricTable {
    /// Whether a metric is one of these, by its full name.
    pub(crate) fn is_of(&self, full_name: &str, metrics: MetricsOf<'_>) -> bool {
        match metrics {
            MetricsOf::All => true,
            MetricsOf::Training => !is_of_validation(full_name),
            MetricsOf::Validation => is_of_validation(full_name),
            MetricsOf::Set(set) => is_of_validation(full_name) && self.set_of(full_name) == set,
        }
    }

    fn set_of(&self, full_name: &str) -> Option<&str> {
        let of_sets = self.registered.values().filter_map(|metric| Some((metric, metric.set.as_deref()?)));
        of_sets.into_iter().find(|(metric, _)| named(VALID, &metric.key) == full_name).map(|(_, set)| set)
    }

    /// Checks that a metric on a named validation set has not the name of another metric.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], which names both.
    pub(crate) fn check_set_names(&self) -> Result<()> {
        let metrics: Vec<(&RegisteredMetric, String)> =
            self.registered.values().map(|metric| (metric, base(&metric.name))).collect();
        for (place, (metric, key)) in metrics.iter().enumerate() {
            // Of two metrics on the same set the keys differ.
            let is_same = |(other, of_other): &&(&RegisteredMetric, String)| {
                other.set != metric.set && same_file_name(of_other, key)
            };
            if let Some((other, _)) = metrics[..place].iter().find(is_same) {
                let [other, metric] = [other, metric].map(described);
                let name = named(VALID, key);
                let reason = format!(
                    "{other} and {metric} would both be {name}: give the set or the metric another name"
                );
                return Err(Error::config("Trainer::validation_set", reason));
            }
        }
        Ok(())
    }
}

/// `the metric "Loss" on the validation set "hard"`.
fn described(metric: &&RegisteredMetric) -> String {
    let Some(set) = &metric.set else { return format!("the metric {:?}", metric.name) };
    // The name that it has on the set begins with that of the set.
    let name = metric.name.get(set.len() + 1..).unwrap_or_default();
    format!("the metric {name:?} on the validation set {set:?}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::definition;
    use super::*;

    /// A table with metrics, and those of sets. An id is not the name of a metric.
    fn table(metrics: &[&str], on_sets: &[(&str, &str)]) -> MetricTable {
        let mut table = MetricTable::default();
        metrics.iter().for_each(|name| table.register(&definition(name), None, true));
        for (set, name) in on_sets {
            let mut definition = definition(&format!("{set} {name}"));
            definition.metric_id = super::super::tests::definition(&format!("{set}\0{name}")).metric_id;
            table.register(&definition, Some((*set).to_owned()), true);
        }
        table
    }

    #[test]
    fn a_metric_on_a_named_set_is_of_that_set_and_of_the_validation_alone() {
        let table = table(&["Loss", "hard example"], &[("hard", "Loss"), ("hard", "hard example")]);
        assert_eq!(
            table.names(),
            [
                "train_loss",
                "train_hard_example",
                "val_loss",
                "val_hard_example",
                "val_hard_loss",
                "val_hard_hard_example",
            ]
        );
        assert_eq!(table.find("train_hard_loss"), None);
        assert_eq!(table.find("Val/hard Loss").unwrap().0, "val_hard_loss");
        let of =
            |metrics| table.names().into_iter().filter(|name| table.is_of(name, metrics)).collect::<Vec<_>>();
        assert_eq!(of(MetricsOf::Training), ["train_loss", "train_hard_example"]);
        assert_eq!(of(MetricsOf::Set(None)), ["val_loss", "val_hard_example"]);
        assert_eq!(of(MetricsOf::Set(Some("hard"))), ["val_hard_loss", "val_hard_hard_example"]);
        assert_eq!((of(MetricsOf::Validation).len(), of(MetricsOf::All).len()), (4, 6));
    }

    #[test]
    fn two_metrics_of_one_name_are_an_error_that_names_both() {
        let reason =
            |metrics: &[&str], on_sets: &[(&str, &str)]| match table(metrics, on_sets).check_set_names() {
                Err(Error::Config { reason, .. }) => reason,
                other => panic!("{other:?}"),
            };
        for main in ["Hard Loss", "hard Loss", "hard/loss", "HARD_LOSS"] {
            let reason = reason(&["Loss", main], &[("hard", "Loss")]);
            assert!(reason.contains(&format!("the metric {main:?} and")), "{reason}");
            assert!(
                reason.contains("\"Loss\" on the validation set \"hard\" would both be val_hard_loss"),
                "{reason}"
            );
        }
        let reason = reason(&[], &[("hard", "easy Loss"), ("hard_easy", "Loss")]);
        assert!(reason.contains("\"hard\"") && reason.contains("\"hard_easy\""), "{reason}");
        assert!(table(&["a b", "a-b"], &[("hard", "a b"), ("hard", "a-b")]).check_set_names().is_ok());
    }
}
