//! The values of all epochs that are done, in three lists: a history can come from anybody, and an epoch with a map of its own
//! would take a hundred times its text.

use std::fmt;

use indexmap::{IndexMap, IndexSet};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::chunks::Chunks;

/// The most metrics of a history.
pub(super) const MAX_METRICS: usize = 10_000;

/// The values of one epoch by the metrics' full names, as burn's early stopping sees them.
pub(crate) type EpochValues = IndexMap<String, f64>;

/// The values of the epochs that are done, the first one first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EpochTable {
    /// The metrics' full names, in the order in which they were first logged.
    names: IndexSet<String>,
    /// The number of values up to the end of each epoch.
    ends: Chunks<u32>,
    /// The place of each value's name, of which there are at most [`MAX_METRICS`].
    metrics: Chunks<u16>,
    values: Chunks<f64>,
}

impl EpochTable {
    /// The number of epochs.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a metric in an epoch, counted from 0.
    pub(crate) fn value(&self, full_name: &str, epoch: usize) -> Option<f64> {
        let metric = place(self.names.get_index_of(full_name)?);
        // As in a map, the last of two values counts.
        let place = self.range(epoch)?.rev().find(|place| self.metrics.get(*place) == Some(metric))?;
        self.values.get(place)
    }

    /// The values of an epoch.
    pub(crate) fn values_of(&self, epoch: usize) -> EpochValues {
        let value = |place: usize| {
            let name = self.names.get_index(self.metrics.get(place)? as usize)?;
            Some((name.clone(), self.values.get(place)?))
        };
        self.range(epoch).unwrap_or_default().filter_map(value).collect()
    }

    /// Adds an epoch.
    pub(crate) fn push(&mut self, values: EpochValues) {
        for (name, value) in values {
            self.push_value(name, value);
        }
        self.end_epoch();
    }

    /// Forgets the epochs from this one on, or adds epochs without values.
    pub(crate) fn set_len(&mut self, epochs: usize) {
        let before = self.ends.last().unwrap_or(0);
        (self.len()..epochs).for_each(|_| self.ends.push(before));
        self.ends.truncate(epochs);
        let values = self.ends.last().unwrap_or(0) as usize;
        self.metrics.truncate(values);
        self.values.truncate(values);
    }

    /// The JSON of an epoch, counted from 0. One of its values is a whole number, and written as such.
    pub(crate) fn to_json(&self, epoch: usize, whole_number: &str) -> Option<String> {
        let json = Epoch(self, self.range(epoch)?).serialize(serde_json::value::Serializer);
        let mut json = json.ok()?;
        if let Some(number) = json.get_mut(whole_number)
            && let Some(value) = number.as_f64()
        {
            *number = (value as u64).into();
        }
        Some(json.to_string())
    }

    fn range(&self, epoch: usize) -> Option<std::ops::Range<usize>> {
        let end = self.ends.get(epoch)? as usize;
        let start = epoch.checked_sub(1).map_or(Some(0), |before| self.ends.get(before))? as usize;
        Some(start..end)
    }

    fn push_value(&mut self, name: String, value: f64) {
        let (metric, _) = self.names.insert_full(name);
        self.metrics.push(place(metric));
        self.values.push(value);
    }

    fn end_epoch(&mut self) {
        // Memory has far fewer values than 2^32.
        self.ends.push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
    }
}

/// burn-trainer has an entry for each metric in several places, and would fail long before there were so many.
fn place(metric: usize) -> u16 {
    u16::try_from(metric).unwrap_or(u16::MAX)
}

impl Serialize for EpochTable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut epochs = to.serialize_seq(Some(self.len()))?;
        for epoch in 0..self.len() {
            epochs.serialize_element(&Epoch(self, self.range(epoch).unwrap_or_default()))?;
        }
        epochs.end()
    }
}

/// One epoch as it is written.
struct Epoch<'a>(&'a EpochTable, std::ops::Range<usize>);

impl Serialize for Epoch<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(table, range) = self;
        let value = |place: usize| {
            let name = table.names.get_index(table.metrics.get(place)? as usize)?;
            Some((name, MetricValue(table.values.get(place)?)))
        };
        to.collect_map(range.clone().filter_map(value))
    }
}

impl<'de> Deserialize<'de> for EpochTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Epochs;
        impl<'de> Visitor<'de> for Epochs {
            type Value = EpochTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of epochs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut epochs: A) -> Result<EpochTable, A::Error> {
                let mut table = EpochTable::default();
                while epochs.next_element_seed(NextEpoch(&mut table))?.is_some() {}
                Ok(table)
            }
        }
        from.deserialize_seq(Epochs)
    }
}

/// Reads one epoch into the table.
struct NextEpoch<'a>(&'a mut EpochTable);

impl<'de> DeserializeSeed<'de> for NextEpoch<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NextEpoch<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the values of an epoch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Self(table) = self;
        let before = table.values.len();
        while let Some(name) = values.next_key::<String>()? {
            let MetricValue(value) = values.next_value()?;
            table.push_value(name, value);
            if table.names.len() > MAX_METRICS || table.values.len() - before > MAX_METRICS {
                return Err(A::Error::custom(format!(
                    "its epochs have more metrics than {MAX_METRICS}, and {MAX_METRICS} at most are read"
                )));
            }
        }
        table.end_epoch();
        Ok(())
    }
}

/// A value as `burn_ckpt::plumbing::numbers` writes it.
struct MetricValue(f64);

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => to.serialize_f64(self.0),
            false => to.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for MetricValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = MetricValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<MetricValue, E> {
                Ok(MetricValue(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<MetricValue, E> {
                Ok(MetricValue(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<MetricValue, E> {
                Ok(MetricValue(value as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MetricValue, E> {
                match text {
                    "NaN" => Ok(MetricValue(f64::NAN)),
                    "inf" => Ok(MetricValue(f64::INFINITY)),
                    "-inf" => Ok(MetricValue(f64::NEG_INFINITY)),
                    text => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        from.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const N: usize>(values: [(&str, f64); N]) -> EpochValues {
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn epochs_come_back_as_they_were_written() {
        let mut table = EpochTable::default();
        table.push(values([("train_loss", 0.1), ("val_loss", f64::NAN)]));
        table.push(values([]));
        table.push(values([("val_loss", 3.0), ("train_loss", f64::NEG_INFINITY)]));
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(text, r#"[{"train_loss":0.1,"val_loss":"NaN"},{},{"val_loss":3.0,"train_loss":"-inf"}]"#);
        let back: EpochTable = serde_json::from_str(&text).unwrap();
        assert_eq!(back.len(), 3);
        assert_eq!(back.value("train_loss", 0), Some(0.1));
        assert_eq!((back.value("train_loss", 1), back.value("train_loss", 3)), (None, None));
        assert_eq!(back.value("train_loss", 2), Some(f64::NEG_INFINITY));
        assert_eq!((back.value("val_loss", 2), back.value("other", 2)), (Some(3.0), None));
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.to_json(2, "val_loss").unwrap(), r#"{"val_loss":3,"train_loss":"-inf"}"#);
        assert_eq!((back.to_json(1, "step").as_deref(), back.to_json(3, "step")), (Some("{}"), None));
    }

    #[test]
    fn a_table_can_be_cut_off_and_continued() {
        let mut table = EpochTable::default();
        (0..4).for_each(|epoch| table.push(values([("a", f64::from(epoch))])));
        table.set_len(2);
        table.set_len(3);
        table.push(values([("a", 9.0)]));
        let seen: Vec<_> = (0..5).map(|epoch| table.value("a", epoch)).collect();
        assert_eq!(seen, [Some(0.0), Some(1.0), None, Some(9.0), None]);
    }

    #[test]
    fn more_metrics_than_allowed_are_an_error() {
        let read = |json: &str| serde_json::from_str::<EpochTable>(json);
        let named = |from: usize, count: usize| {
            let members: Vec<String> = (from..from + count).map(|name| format!("\"{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(read(&format!("[{}]", named(0, MAX_METRICS))).is_ok());
        for text in [
            named(0, MAX_METRICS + 1),
            format!("{},{}", named(0, MAX_METRICS), named(MAX_METRICS, 1)),
            format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MAX_METRICS)),
        ] {
            let error = read(&format!("[{text}]")).unwrap_err();
            assert!(error.to_string().contains("10000 at most"), "{error}");
        }
    }
}
