//! The history as a section of a checkpoint. A checkpoint can come from anybody, so everything in it is checked.

mod chunks;
mod epoch_table;

use std::sync::Arc;

use burn::tensor::{Bytes, DType, Shape};
use burn_ckpt::Section;
use burn_ckpt::plumbing::{check_json, parse_json, shown};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::line_chunks::Lines;
use epoch_table::MAX_METRICS;
pub(crate) use epoch_table::{EpochTable, EpochValues};

/// The one tensor of the section: JSON as bytes. The container's header would be read every time that a checkpoint is
/// opened, and this only by a resume.
const TENSOR: &str = "metrics";
/// The most epochs in a history, since each takes memory. No run comes near.
pub(crate) const MAX_EPOCHS: usize = 10_000_000;
/// The longest history, in bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// The most JSON values in a history: 1,000,000 epochs of two metrics, or as many batches.
const MAX_VALUES: usize = 5_000_000;
/// In an error, with what to do.
const WHAT: &str = "the history (log fewer metrics of the training, or train shorter epochs)";

/// A run's history as it stands in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The values of the epochs that are done. A run that resumes and its saves share them.
    #[serde(serialize_with = "write_epochs", deserialize_with = "read_epochs")]
    pub(super) epochs: Arc<EpochTable>,
    /// The lines that the training split of the epoch in progress has logged.
    pub(super) entries: Entries,
    /// Which of these metrics are not means over the batches.
    #[serde(default)]
    pub(super) no_means: Vec<String>,
    /// The values of each validation within the epoch in progress, with its optimizer step as `step`.
    #[serde(default, skip_serializing_if = "EpochTable::is_empty")]
    pub(super) validations: EpochTable,
    /// The lines of the last of them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) valid_entries: Entries,
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write_epochs<S: Serializer>(epochs: &Arc<EpochTable>, to: S) -> Result<S::Ok, S::Error> {
    epochs.serialize(to)
}

fn read_epochs<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<EpochTable>, D::Error> {
    EpochTable::deserialize(from).map(Arc::new)
}

/// The lines of burn's metric files by burn's names of the metrics.
pub(super) type Entries = IndexMap<String, Lines>;

impl History {
    /// The number of epochs with values.
    pub(crate) fn epochs(&self) -> usize {
        self.epochs.len()
    }

    /// The section for a checkpoint.
    pub(super) fn section(&self) -> burn_ckpt::Result<Section> {
        let failed = |error| burn_ckpt::Error::snapshot("the history cannot be written as JSON", error);
        // A buffer that grows is in memory twice while it moves.
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self).map_err(failed)?;
        if length.0 > MAX_BYTES {
            let (what, found, limit) = (WHAT.to_owned(), length.0 as u64, MAX_BYTES as u64);
            return Err(burn_ckpt::Error::TooLarge { what, unit: "bytes", found, limit });
        }
        let mut json = Vec::with_capacity(length.0);
        serde_json::to_writer(&mut json, self).map_err(failed)?;
        check_values(&json)?;
        let shape = Shape::new([json.len()]);
        // A save clones its tensors. Clones of shared bytes take no memory.
        let bytes = Bytes::from_bytes_vec(json).shared();
        let tensor = burn_ckpt::burn_pack::Tensor::new(TENSOR.to_owned(), DType::U8, shape, None, bytes);
        Ok(Section::new().with_tensors(vec![tensor]))
    }

    /// Reads the section. The error says what is wrong with it.
    pub(crate) fn from_section(section: Section) -> Result<Self, String> {
        let tensor = section.tensors.into_iter().find(|tensor| tensor.name == TENSOR);
        let tensor = tensor.ok_or_else(|| format!("it has no {TENSOR}"))?;
        let length = tensor.byte_len();
        if length > MAX_BYTES {
            return Err(format!("it has {length} bytes, and {MAX_BYTES} at most are read"));
        }
        let (_, _, _, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        let history: Self = parse_json(&bytes, MAX_VALUES).map_err(|error| shown(&error.to_string()))?;
        for (what, count, limit) in [
            ("epochs", history.epochs.len(), MAX_EPOCHS),
            ("metrics", history.entries.len(), MAX_METRICS),
            ("metrics that are not means", history.no_means.len(), MAX_METRICS),
            ("validations in an epoch", history.validations.len(), MAX_EPOCHS),
            ("metrics of the validation", history.valid_entries.len(), MAX_METRICS),
        ] {
            if count > limit {
                return Err(format!("it has {count} {what}, and {limit} at most are read"));
            }
        }
        Ok(history)
    }
}

/// Checks that a reader accepts the JSON: a checkpoint with a longer one could not be resumed.
fn check_values(json: &[u8]) -> burn_ckpt::Result<()> {
    // A value has two bytes at least.
    let checked = if json.len() / 2 < MAX_VALUES { Ok(()) } else { check_json(json, MAX_VALUES) };
    checked.map_err(|error| burn_ckpt::Error::snapshot(format!("{WHAT} could not be read back"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<History, String> {
        let bytes = Bytes::from_bytes_vec(json.as_bytes().to_vec());
        let shape = Shape::new([json.len()]);
        let tensor = burn_ckpt::burn_pack::Tensor::new(TENSOR.to_owned(), DType::U8, shape, None, bytes);
        History::from_section(Section::new().with_tensors(vec![tensor]))
    }

    #[test]
    fn an_invalid_history_fails_with_the_reason() {
        let many: Vec<String> = (0..=MAX_METRICS).map(|number| format!("\"{number}\":[]")).collect();
        let names = vec!["\"a\""; MAX_METRICS + 1].join(",");
        for (json, reason) in [
            (r#"{"epochs":[],"entries":{"Loss":[[2,"0.5"],[1,"0.5"]]}}"#.to_owned(), "batch 1"),
            (r#"{"epochs":[],"entries":{"Loss":[[0,"0.5"]]}}"#.to_owned(), "batch 0"),
            (r#"{"epochs":[{"a":"much"}],"entries":{}}"#.to_owned(), "much"),
            (r#"{"epochs":[]}"#.to_owned(), "entries"),
            ("[".to_owned(), "EOF"),
            (format!(r#"{{"epochs":[],"entries":{{{}}}}}"#, many.join(",")), "10000 at most"),
            (format!(r#"{{"epochs":[],"entries":{{}},"no_means":[{names}]}}"#), "10000 at most"),
            (
                format!(r#"{{"epochs":[],"entries":{{}},"valid_entries":{{{}}}}}"#, many.join(",")),
                "10000 at most",
            ),
            (r#"{"epochs":[],"entries":{},"validations":[{"step":"seven"}]}"#.to_owned(), "seven"),
        ] {
            let error = read(&json).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(History::from_section(Section::default()).unwrap_err().contains("no metrics"));
    }

    #[test]
    fn a_history_that_could_not_be_read_back_is_not_written() {
        let values = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let readable = values(MAX_VALUES - 1);
        check_values(readable.as_bytes()).unwrap();
        parse_json::<Vec<u8>>(readable.as_bytes(), MAX_VALUES).unwrap();
        let unreadable = values(MAX_VALUES + 1);
        parse_json::<Vec<u8>>(unreadable.as_bytes(), MAX_VALUES).unwrap_err();
        let error = check_values(unreadable.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("log fewer metrics"), "{error}");
    }

    #[test]
    fn values_that_json_has_no_number_for_come_back() {
        let history = read(r#"{"epochs":[{"a":"NaN","b":"inf","c":"-inf","d":1}],"entries":{}}"#).unwrap();
        let value = |name: &str| history.epochs.value(name, 0).unwrap();
        assert!(value("a").is_nan());
        assert_eq!((value("b"), value("c"), value("d")), (f64::INFINITY, f64::NEG_INFINITY, 1.0));
        let again = History::from_section(history.section().unwrap()).unwrap();
        assert!(again.epochs.value("a", 0).unwrap().is_nan());
    }
}
