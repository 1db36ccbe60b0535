//! The history as a section of a checkpoint. A checkpoint can be hostile, so everything in it is
//! checked.

mod epoch_table;
mod left_to_log;
mod newest_lines;

use std::sync::Arc;

use burn::tensor::{Bytes, DType, Shape};
use burn_ckpt::Section;
pub(crate) use burn_ckpt::plumbing::epoch_blocks::MAX_EPOCHS;
use burn_ckpt::plumbing::epoch_blocks::{
    BLOCK, EPOCHS, HISTORY_JSON, LATEST_EPOCHS, MAX_HISTORY_BYTES, MAX_HISTORY_VALUES,
};
use burn_ckpt::plumbing::{check_json, epoch_blocks, parse_json, shown};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

use super::line_chunks::Entries;
pub(super) use burn_ckpt::plumbing::epoch_blocks::{STEP, VALIDATED_STEP};
use epoch_table::MAX_METRICS;
pub(crate) use epoch_table::{EpochTable, EpochValues};
use newest_lines::LinesBefore;

/// The full blocks of epochs that a checkpoint has, if the log has all before them: then the work of a save
/// does not grow with the run.
const KEPT_BLOCKS: usize = 16;
/// The tensors of a history. The container's header would be read every time that a checkpoint is opened, and
/// these only by a resume. The second one is there once an epoch is done.
pub(crate) const HISTORY_TENSORS: [&str; 2] = [HISTORY_JSON, EPOCHS];
/// Bytes before a block of epochs.
const BLOCK_HEAD: usize = 8;
/// In an error, with what to do.
const WHAT: &str = "the history";
/// What to do about one that is too large.
const ADVICE: &str = "log fewer metrics of the training, or train shorter epochs";

/// A run's history as it stands in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The values of the epochs that are done. A run that resumes and its saves share them.
    /// They are a tensor of their own. Checkpoints of earlier versions have them here.
    #[serde(default, skip_serializing, deserialize_with = "read_epochs")]
    pub(super) epochs: Arc<EpochTable>,
    /// The metrics of the epochs, in the order of the tensor.
    #[serde(default)]
    pub(super) epoch_metrics: Vec<String>,
    /// How many epochs are left to the log: all before those of the tensor.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) left_to_log: usize,
    /// The lines that the training split of the epoch in progress has logged.
    pub(super) entries: Entries,
    /// What the lines before those add up to. On reading they become a part of the entries.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) entries_before: LinesBefore,
    /// Which of these metrics are not means over the batches.
    #[serde(default)]
    pub(super) no_means: Vec<String>,
    /// The values of each validation within the epoch in progress, with its optimizer step as `step`.
    #[serde(default, skip_serializing_if = "EpochTable::is_empty")]
    pub(super) validations: EpochTable,
    /// The lines of the last of them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) valid_entries: Entries,
    /// What the lines before those add up to.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub(super) valid_entries_before: LinesBefore,
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

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn read_epochs<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<EpochTable>, D::Error> {
    EpochTable::deserialize(from).map(Arc::new)
}

impl History {
    /// The number of epochs with values.
    pub(crate) fn epochs(&self) -> usize {
        self.epochs.len()
    }

    /// The section for a checkpoint. `is_logged`: the log has the values of all epochs.
    pub(super) fn section(mut self, is_logged: bool) -> burn_ckpt::Result<Section> {
        let left_out = match is_logged && self.epochs.can_be_logged() {
            true => self.epochs.full_blocks().saturating_sub(KEPT_BLOCKS),
            false => 0,
        };
        self.left_to_log = left_out * BLOCK;
        let blocks = self.epochs.blocks_from(left_out);
        self.epoch_metrics = self.epochs.names();
        self.entries_before = newest_lines::keep(&mut self.entries);
        self.valid_entries_before = newest_lines::keep(&mut self.valid_entries);
        let failed = |error| burn_ckpt::Error::snapshot("the history cannot be written as JSON", error);
        // A buffer that grows is in memory twice while it moves.
        let mut length = Length(0);
        serde_json::to_writer(&mut length, &self).map_err(failed)?;
        let of_blocks = blocks.iter().map(|(_, block)| BLOCK_HEAD + block.len()).sum();
        for length in [length.0, of_blocks] {
            if length > MAX_HISTORY_BYTES {
                let (what, found, limit) = (WHAT.to_owned(), length as u64, MAX_HISTORY_BYTES as u64);
                return Err(burn_ckpt::Error::TooLarge { what, unit: "bytes", found, limit, advice: ADVICE });
            }
        }
        let mut json = Vec::with_capacity(length.0);
        serde_json::to_writer(&mut json, &self).map_err(failed)?;
        check_values(&json)?;
        let mut epochs = Vec::with_capacity(of_blocks);
        for (count, block) in blocks {
            // Both are far below 2^32.
            epochs.extend_from_slice(&(count as u32).to_le_bytes());
            epochs.extend_from_slice(&(block.len() as u32).to_le_bytes());
            epochs.extend_from_slice(&block);
        }
        let name = if left_out > 0 { LATEST_EPOCHS } else { EPOCHS };
        let with_epochs = (!epochs.is_empty()).then(|| tensor(name, epochs));
        Ok(Section::new()
            .with_tensors(std::iter::once(tensor(HISTORY_JSON, json)).chain(with_epochs).collect()))
    }

    /// Reads the section. The error says what is wrong with it.
    pub(crate) fn from_section(section: Section) -> Result<Self, String> {
        let (mut json, mut epochs) = (None, None);
        for tensor in section.tensors {
            match &*tensor.name {
                HISTORY_JSON => json = Some(bytes_of(tensor)?),
                EPOCHS | LATEST_EPOCHS => epochs = Some(bytes_of(tensor)?),
                _ => {}
            }
        }
        let json = json.ok_or_else(|| format!("it has no {HISTORY_JSON}"))?;
        let mut history: Self =
            parse_json(&json, MAX_HISTORY_VALUES).map_err(|error| shown(&error.to_string()))?;
        newest_lines::put(&mut history.entries, std::mem::take(&mut history.entries_before));
        newest_lines::put(&mut history.valid_entries, std::mem::take(&mut history.valid_entries_before));
        if let Some(epochs) = epochs {
            let names = std::mem::take(&mut history.epoch_metrics);
            history.epochs = Arc::new(read_blocks(names, history.left_to_log, &epochs)?);
        }
        Arc::make_mut(&mut history.epochs).look_for_steps(history.left_to_log);
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

fn tensor(name: &str, bytes: Vec<u8>) -> burn_ckpt::burn_pack::Tensor {
    let shape = Shape::new([bytes.len()]);
    // A save clones its tensors. Clones of shared bytes take no memory.
    let bytes = Bytes::from_bytes_vec(bytes).shared();
    burn_ckpt::burn_pack::Tensor::new(name.to_owned(), DType::U8, shape, None, bytes)
}

fn bytes_of(tensor: burn_ckpt::burn_pack::Tensor) -> Result<Bytes, String> {
    let length = tensor.byte_len();
    if length > MAX_HISTORY_BYTES {
        return Err(format!("it has {length} bytes, and {MAX_HISTORY_BYTES} at most are read"));
    }
    let (_, _, _, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The values of epochs in blocks, after those that are left to the log.
fn read_blocks(names: Vec<String>, left_to_log: usize, bytes: &[u8]) -> Result<EpochTable, String> {
    if names.len() > MAX_METRICS {
        return Err(format!("its epochs have {} metrics, and {MAX_METRICS} at most are read", names.len()));
    }
    if left_to_log > MAX_EPOCHS || !left_to_log.is_multiple_of(BLOCK) {
        return Err(format!("it leaves {left_to_log} epochs to the log"));
    }
    let mut table = EpochTable::with_names(names, left_to_log / BLOCK)?;
    for block in epoch_blocks::blocks(bytes) {
        let (epochs, block) = block?;
        table.add_block(block, epochs)?;
        if table.len() > MAX_EPOCHS {
            return Err(format!("it has more than {MAX_EPOCHS} epochs, which are the most that are read"));
        }
    }
    Ok(table)
}

/// Checks that a reader accepts the JSON: a checkpoint with a longer one could not be resumed.
fn check_values(json: &[u8]) -> burn_ckpt::Result<()> {
    // A value has two bytes at least.
    let checked =
        if json.len() / 2 < MAX_HISTORY_VALUES { Ok(()) } else { check_json(json, MAX_HISTORY_VALUES) };
    checked.map_err(|error| {
        burn_ckpt::Error::snapshot(format!("{WHAT} could not be read back ({ADVICE})"), error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<History, String> {
        let bytes = Bytes::from_bytes_vec(json.as_bytes().to_vec());
        let shape = Shape::new([json.len()]);
        let tensor =
            burn_ckpt::burn_pack::Tensor::new(HISTORY_JSON.to_owned(), DType::U8, shape, None, bytes);
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
        let readable = values(MAX_HISTORY_VALUES - 1);
        check_values(readable.as_bytes()).unwrap();
        parse_json::<Vec<u8>>(readable.as_bytes(), MAX_HISTORY_VALUES).unwrap();
        let unreadable = values(MAX_HISTORY_VALUES + 1);
        parse_json::<Vec<u8>>(unreadable.as_bytes(), MAX_HISTORY_VALUES).unwrap_err();
        let error = check_values(unreadable.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("log fewer metrics"), "{error}");
    }

    #[test]
    fn values_that_json_has_no_number_for_come_back() {
        let history = read(r#"{"epochs":[{"a":"NaN","b":"inf","c":"-inf","d":1}],"entries":{}}"#).unwrap();
        let value = |name: &str| history.epochs.value(name, 0).unwrap();
        assert!(value("a").is_nan());
        assert_eq!((value("b"), value("c"), value("d")), (f64::INFINITY, f64::NEG_INFINITY, 1.0));
        let again = History::from_section(history.section(true).unwrap()).unwrap();
        assert!(again.epochs.value("a", 0).unwrap().is_nan());
    }
}
