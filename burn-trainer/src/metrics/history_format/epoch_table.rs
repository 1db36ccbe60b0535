//! The values of all epochs that are done, in blocks of bytes: a history can be hostile, and an epoch
//! with a map of its own would take a hundred times its text.

use std::fmt;
use std::sync::Arc;

use burn_ckpt::plumbing::epoch_blocks::{BLOCK, Rows, STEP, decode, encode};
use burn_ckpt::plumbing::numbers::Number;
use indexmap::{IndexMap, IndexSet};
use parking_lot::Mutex;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most metrics of a history.
pub(super) const MAX_METRICS: usize = 10_000;

/// The values of one epoch by the metrics' full names, as burn's early stopping sees them.
pub(crate) type EpochValues = IndexMap<String, f64>;

/// The number of epochs in a block, and its bytes.
pub(super) type EncodedBlock = (usize, Arc<[u8]>);

/// The values of the epochs that are done, the first one first.
///
/// All but the last ones are in blocks of bytes, which do not change any more. Copies share them.
#[derive(Debug, Default)]
pub(crate) struct EpochTable {
    /// The metrics' full names, in the order in which they were first logged.
    names: IndexSet<String>,
    full: Vec<Arc<[u8]>>,
    /// The epochs after those of the blocks.
    open: Rows,
    /// Whether some epochs do not say with which step they ended.
    lacks_steps: bool,
    /// The block that was read last, by its place.
    read: Mutex<Option<(usize, Arc<Rows>)>>,
}

impl Clone for EpochTable {
    fn clone(&self) -> Self {
        let Self { names, full, open, lacks_steps, read: _ } = self;
        let (names, full, open) = (names.clone(), full.clone(), open.clone());
        Self { names, full, open, lacks_steps: *lacks_steps, read: Mutex::default() }
    }
}

impl PartialEq for EpochTable {
    fn eq(&self, other: &Self) -> bool {
        (&self.names, &self.full, &self.open) == (&other.names, &other.full, &other.open)
    }
}

impl EpochTable {
    /// The number of epochs.
    pub(crate) fn len(&self) -> usize {
        self.full.len() * BLOCK + self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a metric in an epoch, counted from 0.
    pub(crate) fn value(&self, full_name: &str, epoch: usize) -> Option<f64> {
        let metric = place(self.names.get_index_of(full_name)?);
        // As in a map, the last of two values counts.
        self.with_row(epoch, |row| row.iter().rev().find(|(of, _)| *of == metric).map(|(_, value)| *value))
    }

    pub(crate) fn values_of(&self, epoch: usize) -> EpochValues {
        let named = |(metric, value): &(u16, f64)| {
            let name = self.names.get_index(usize::from(*metric))?;
            Some((name.clone(), *value))
        };
        self.with_row(epoch, |row| row.iter().filter_map(named).collect())
    }

    /// Adds an epoch.
    pub(crate) fn push(&mut self, values: EpochValues) {
        for (likely, (name, value)) in values.into_iter().enumerate() {
            let metric = self.metric(&name, likely);
            self.push_value(metric, value);
        }
        self.end_epoch();
    }

    /// Removes the epochs after the first `epochs`, or adds such without values.
    pub(crate) fn set_len(&mut self, epochs: usize) {
        if epochs < self.full.len() * BLOCK {
            self.open = Rows::clone(&self.block(epochs / BLOCK));
            self.full.truncate(epochs / BLOCK);
            *self.read.get_mut() = None;
        }
        self.open.truncate(epochs.saturating_sub(self.full.len() * BLOCK));
        (self.len()..epochs).for_each(|_| self.end_epoch());
    }

    /// An epoch as JSON, in which one value is a whole number.
    pub(crate) fn to_json(&self, epoch: usize, whole_number: &str) -> Option<String> {
        if epoch >= self.len() {
            return None;
        }
        let values = self.values_of(epoch);
        let mut json = Epoch(&values).serialize(serde_json::value::Serializer).ok()?;
        if let Some(number) = json.get_mut(whole_number)
            && let Some(value) = number.as_f64()
        {
            *number = (value as u64).into();
        }
        Some(json.to_string())
    }

    /// The metrics' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.iter().cloned().collect()
    }

    /// The blocks that do not change any more.
    pub(super) fn full_blocks(&self) -> usize {
        self.full.len()
    }

    /// The epochs in blocks, without the first ones.
    pub(super) fn blocks_from(&self, first: usize) -> Vec<EncodedBlock> {
        let full = self.full.iter().skip(first).map(|block| (BLOCK, Arc::clone(block)));
        let open = (!self.open.is_empty()).then(|| (self.open.len(), encode(&self.open).into()));
        full.chain(open).collect()
    }

    /// The table of these names, which the next blocks of bytes are added to. Its first epochs, as many
    /// blocks, have no values.
    pub(super) fn with_names(names: Vec<String>, without_values: usize) -> Result<Self, String> {
        let (count, names) = (names.len(), IndexSet::from_iter(names));
        if names.len() != count {
            return Err("two of its metrics have one name".to_owned());
        }
        let mut nothing = Rows::default();
        (0..BLOCK).for_each(|_| nothing.end_row());
        let full = vec![Arc::from(encode(&nothing)); without_values];
        Ok(Self { names, full, ..Self::default() })
    }

    /// Puts values in the place of those of a full block.
    pub(super) fn replace_block(&mut self, block: usize, epochs: Vec<EpochValues>) {
        if block >= self.full.len() || epochs.len() != BLOCK {
            return;
        }
        let mut rows = Rows::default();
        for values in epochs {
            for (likely, (name, value)) in values.into_iter().enumerate() {
                let metric = self.metric(&name, likely);
                rows.push(place(metric), value);
            }
            rows.end_row();
        }
        self.full[block] = encode(&rows).into();
        *self.read.get_mut() = None;
    }

    /// Looks for epochs without the step at their end, as an earlier version has written them, from this one
    /// on. A log has no lines of such.
    pub(super) fn look_for_steps(&mut self, first: usize) {
        let step = self.names.get_index_of(STEP).map(place);
        let has_step = |row: &[(u16, f64)]| row.is_empty() || row.iter().any(|(of, _)| Some(*of) == step);
        self.lacks_steps = !(first..self.len()).all(|epoch| self.with_row(epoch, has_step));
    }

    /// Whether the lines of a log can have all of it.
    pub(super) fn can_be_logged(&self) -> bool {
        !self.lacks_steps
    }

    /// Adds the epochs of a block, which can be hostile.
    pub(super) fn add_block(&mut self, bytes: &[u8], epochs: usize) -> Result<(), String> {
        if !self.open.is_empty() {
            return Err(format!("one of its blocks has {epochs} epochs"));
        }
        let rows = decode(bytes, epochs, self.names.len())?;
        match epochs {
            // Its bytes as this version writes them.
            BLOCK => self.full.push(encode(&rows).into()),
            _ => self.open = rows,
        }
        Ok(())
    }

    /// The values of a block. Those of the one that was read last are kept, as epochs are read in their
    /// order.
    fn block(&self, place: usize) -> Arc<Rows> {
        let mut read = self.read.lock();
        if let Some((_, rows)) = read.as_ref().filter(|(known, _)| *known == place) {
            return Arc::clone(rows);
        }
        // Each was encoded here, so it can be decoded.
        let decoded = self.full.get(place).and_then(|block| decode(block, BLOCK, self.names.len()).ok());
        let rows = Arc::new(decoded.unwrap_or_default());
        *read = Some((place, Arc::clone(&rows)));
        rows
    }

    fn with_row<T>(&self, epoch: usize, use_row: impl FnOnce(&[(u16, f64)]) -> T) -> T {
        match epoch.checked_sub(self.full.len() * BLOCK) {
            Some(place) => use_row(self.open.row(place)),
            None => use_row(self.block(epoch / BLOCK).row(epoch % BLOCK)),
        }
    }

    fn push_value(&mut self, metric: usize, value: f64) {
        self.open.push(place(metric), value);
    }

    /// The place of a name, which is added where it is new. `likely` is where it is in an epoch that has the
    /// metrics of all others in their order: then neither is the name hashed nor a text made of it, which is
    /// most of the time that a long history takes.
    fn metric(&mut self, name: &str, likely: usize) -> usize {
        let is_known = self.names.get_index(likely).is_some_and(|known| known == name);
        let known = if is_known { Some(likely) } else { self.names.get_index_of(name) };
        known.unwrap_or_else(|| self.names.insert_full(name.to_owned()).0)
    }

    fn end_epoch(&mut self) {
        self.open.end_row();
        if self.open.len() == BLOCK {
            self.full.push(encode(&self.open).into());
            self.open = Rows::default();
        }
    }
}

/// burn-trainer has an entry for each metric in several places, and would fail long before there were so
/// many.
fn place(metric: usize) -> u16 {
    u16::try_from(metric).unwrap_or(u16::MAX)
}

impl Serialize for EpochTable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut epochs = to.serialize_seq(Some(self.len()))?;
        for epoch in 0..self.len() {
            epochs.serialize_element(&Epoch(&self.values_of(epoch)))?;
        }
        epochs.end()
    }
}

/// One epoch as it is written.
struct Epoch<'a>(&'a EpochValues);

impl Serialize for Epoch<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, Number(*value))))
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
        let mut likely = 0;
        while let Some(metric) = values.next_key_seed(NextName(table, likely))? {
            let Number(value) = values.next_value()?;
            table.push_value(metric, value);
            likely += 1;
            if table.names.len() > MAX_METRICS || table.open.pending() > MAX_METRICS {
                return Err(A::Error::custom(format!(
                    "its epochs have more metrics than {MAX_METRICS}, and {MAX_METRICS} at most are read"
                )));
            }
        }
        table.end_epoch();
        Ok(())
    }
}

/// Reads a metric's name into the table, and returns its place. It is likely to be this one.
struct NextName<'a>(&'a mut EpochTable, usize);

impl<'de> DeserializeSeed<'de> for NextName<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for NextName<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a metric")
    }

    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        Ok(self.0.metric(name, self.1))
    }
}

#[cfg(test)]
mod tests;
