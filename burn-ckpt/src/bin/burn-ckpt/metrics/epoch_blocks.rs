//! The values of epochs in the blocks of a history, by their names. They can be hostile.

use burn_ckpt::plumbing::epoch_blocks::{MAX_EPOCHS, blocks, decode};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;

use crate::metrics::names::MAX_METRICS;

/// The values of each epoch, at most `max_values` of them. The error says what is wrong.
pub fn read(names: &Value, bytes: &[u8], max_values: usize) -> Result<Vec<IndexMap<String, f64>>, String> {
    let listed = names.as_array().ok_or("it does not name the metrics of its epochs")?;
    if listed.len() > MAX_METRICS {
        return Err(format!("its epochs have {} metrics, and {MAX_METRICS} at most are read", listed.len()));
    }
    let names: IndexSet<&str> = listed.iter().filter_map(Value::as_str).collect();
    if names.len() != listed.len() {
        return Err("two of its metrics have one name, or one has none".to_owned());
    }
    let (mut read, mut values_left) = (Vec::new(), max_values);
    for block in blocks(bytes) {
        let (epochs, block) = block?;
        if read.len() + epochs > MAX_EPOCHS {
            return Err(format!("it has more than {MAX_EPOCHS} epochs, which are the most that are read"));
        }
        let rows = decode(block, epochs, names.len())?;
        for row in (0..rows.len()).map(|epoch| rows.row(epoch)) {
            values_left = values_left.checked_sub(row.len()).ok_or("it has too many values")?;
            let named = |(place, value): &(u16, f64)| Some((names.get_index(usize::from(*place))?, *value));
            read.push(
                row.iter().filter_map(named).map(|(name, value)| ((*name).to_owned(), value)).collect(),
            );
        }
    }
    Ok(read)
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
    fn invalid_bytes_are_errors() {
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
