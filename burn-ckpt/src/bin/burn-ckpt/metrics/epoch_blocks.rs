//! The values of epochs in the blocks of a history: section 5 of FORMAT.md. They can come from anybody.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

use crate::metrics::names::MAX_METRICS;

/// The most epochs, as a run reads it: an epoch without values takes memory too.
const MAX_EPOCHS: usize = 10_000_000;
/// The most epochs in a block.
const BLOCK: usize = 256;
/// The most bytes of a number in LEB128.
const MAX_NUMBER_BYTES: usize = 4;

/// The values of each epoch, at most `max_values` of them. The error says what is wrong.
pub fn read(
    names: &Value,
    mut bytes: &[u8],
    max_values: usize,
) -> Result<Vec<IndexMap<String, f64>>, String> {
    let listed = names.as_array().ok_or("it does not name the metrics of its epochs")?;
    if listed.len() > MAX_METRICS {
        return Err(format!("its epochs have {} metrics, and {MAX_METRICS} at most are read", listed.len()));
    }
    let names: IndexSet<&str> = listed.iter().filter_map(Value::as_str).collect();
    if names.len() != listed.len() {
        return Err("two of its metrics have one name, or one has none".to_owned());
    }
    let mut reader = Reader { names, values_left: max_values, epochs: Vec::new() };
    while !bytes.is_empty() {
        let [epochs, length] = [take(&mut bytes, 4)?, take(&mut bytes, 4)?].map(little_endian);
        let mut block = take(&mut bytes, length)?;
        if epochs == 0 || epochs > BLOCK {
            return Err(format!("one of its blocks has {epochs} epochs"));
        }
        reader.block(&mut block, epochs)?;
        if !block.is_empty() {
            return Err(format!("{} bytes follow its epochs", block.len()));
        }
    }
    Ok(reader.epochs)
}

struct Reader<'a> {
    names: IndexSet<&'a str>,
    values_left: usize,
    epochs: Vec<IndexMap<String, f64>>,
}

impl Reader<'_> {
    fn block(&mut self, bytes: &mut &[u8], epochs: usize) -> Result<(), String> {
        // The places of the metrics, and the bits that each one had last in the block.
        let (mut of_epoch, mut last): (Option<Vec<usize>>, Vec<u64>) = (None, vec![0; self.names.len()]);
        for _ in 0..epochs {
            if let Some(count) = number(bytes)?.checked_sub(1) {
                if count > self.names.len() {
                    return Err(format!("an epoch has {count} of {} metrics", self.names.len()));
                }
                of_epoch = Some((0..count).map(|_| number(bytes)).collect::<Result<_, _>>()?);
            }
            let places = of_epoch.as_ref().ok_or("the first epoch of a block has no metrics")?;
            self.values_left = self.values_left.checked_sub(places.len()).ok_or("it has too many values")?;
            if self.epochs.len() == MAX_EPOCHS {
                return Err(format!(
                    "it has more than {MAX_EPOCHS} epochs, which are the most that are read"
                ));
            }
            let mut values = IndexMap::with_capacity(places.len());
            for place in places {
                let named = self.names.get_index(*place).zip(last.get_mut(*place));
                let (name, bits) = named.ok_or("an epoch has a metric without a name")?;
                *bits ^= changed_bits(bytes)?;
                values.insert((*name).to_owned(), f64::from_bits(*bits));
            }
            self.epochs.push(values);
        }
        Ok(())
    }
}

/// The bits in which a value differs from the one before.
fn changed_bits(bytes: &mut &[u8]) -> Result<u64, String> {
    let tag = byte(bytes)?;
    let (leading, kept) = (usize::from(tag >> 4), usize::from(tag & 15));
    let mut changed = [0; 8];
    let written = changed.get_mut(leading..leading + kept).ok_or("a value has more than 8 bytes")?;
    written.copy_from_slice(take(bytes, kept)?);
    Ok(u64::from_be_bytes(changed))
}

/// A number in LEB128.
fn number(bytes: &mut &[u8]) -> Result<usize, String> {
    let mut number = 0;
    for place in 0..MAX_NUMBER_BYTES {
        let byte = byte(bytes)?;
        number |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("one of its numbers is too long".to_owned())
}

fn little_endian(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn byte(bytes: &mut &[u8]) -> Result<u8, String> {
    take(bytes, 1).map(|byte| byte.iter().copied().sum())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("its epochs are cut off")?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two epochs of two metrics: 0.25 and 0.5, then 0.75 and 0.5.
    fn example() -> Vec<u8> {
        let head = [2, 0, 0, 0, 13, 0, 0, 0];
        let first = [3, 0, 1, 0x02, 0x3F, 0xD0, 0x02, 0x3F, 0xE0];
        let second = [0, 0x11, 0x38, 0x80];
        [&head[..], &first, &second].concat()
    }

    #[test]
    fn values_are_those_that_the_format_describes() {
        let epochs = read(&json!(["step", "val_loss"]), &example(), 4).unwrap();
        let values = |epoch: usize| epochs[epoch].iter().map(|(name, value)| (name.as_str(), *value));
        assert_eq!(values(0).collect::<Vec<_>>(), [("step", 0.25), ("val_loss", 0.5)]);
        assert_eq!(values(1).collect::<Vec<_>>(), [("step", 0.75), ("val_loss", 0.5)]);
        // A block knows nothing of the one before.
        let twice = read(&json!(["step", "val_loss"]), &example().repeat(2), 8).unwrap();
        assert_eq!(twice, [epochs.clone(), epochs].concat());
    }

    #[test]
    fn bytes_of_anybody_are_errors() {
        let (bytes, names) = (example(), json!(["a", "b"]));
        for cut in 1..bytes.len() {
            assert!(read(&names, &bytes[..cut], 4).unwrap_err().contains("cut off"), "{cut}");
        }
        let many: Vec<String> = (0..=MAX_METRICS).map(|number| number.to_string()).collect();
        for (names, bytes, max_values, reason) in [
            (names.clone(), &bytes[..], 3, "too many values"),
            (json!(["a"]), &bytes, 4, "2 of 1 metrics"),
            (json!(["a", "a"]), &bytes, 4, "one name"),
            (json!(many), &bytes, 4, "10000 at most"),
            (Value::Null, &bytes, 4, "does not name"),
            (names.clone(), &[1, 1, 0, 0, 0, 0, 0, 0], 4, "has 257 epochs"),
            (names.clone(), &[1, 0, 0, 0, 1, 0, 0, 0, 0], 4, "first epoch"),
            (names.clone(), &[1, 0, 0, 0, 2, 0, 0, 0, 1, 7], 4, "1 bytes follow"),
            (names.clone(), &[1, 0, 0, 0, 3, 0, 0, 0, 2, 7, 0x80], 4, "without a name"),
            (names.clone(), &[1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0x09], 4, "more than 8 bytes"),
            (names, &[1, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255], 4, "too long"),
        ] {
            let error = read(&names, bytes, max_values).unwrap_err();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
