//! The `.metadata.json` beside every checkpoint: its types, its limits, and how non-finite numbers are written.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result, disagreement};
use crate::file_names::metadata_path;

/// The largest metadata file that is read, in bytes. A checkpoint of 100,000 tensors needs about 20 MB.
pub const MAX_METADATA_BYTES: u64 = 64 * 1024 * 1024;

/// What a checkpoint is, where it comes from, and how to tell that it is whole.
///
/// Keys are written in this order; unknown keys are ignored when reading, so that an older program reads a
/// newer file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The run that wrote the checkpoint.
    pub run_id: String,
    /// A human's name for the run.
    pub name: Option<String>,
    /// The project that the run belongs to.
    pub project: Option<String>,
    /// The checkpoint's path, relative to this file.
    pub checkpoint_path: String,
    /// When the state was taken, in UTC.
    pub checkpoint_timestamp: Timestamp,
    /// When the run started, in UTC.
    pub start_timestamp: Timestamp,
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// Seconds spent training up to this state, over all resumed parts of the run.
    pub training_time_seconds: f64,
    /// The latest value of every numeric metric, in the order in which they were logged.
    #[serde(with = "numbers")]
    pub metrics: IndexMap<String, f64>,
    /// The whole configuration of the trainer.
    pub trainer_config: Value,
    /// The model's hyperparameters.
    pub hparams: Value,
    /// The machine and the software that the run ran on.
    pub environment: Value,
    /// Why the checkpoint was saved: `best`, `last`, or `exception: ..`.
    pub reason: String,
    /// The checkpoint's size in bytes.
    pub checkpoint_size_bytes: u64,
    /// `sha256:` and the digest of the whole file in lower-case hexadecimal, as `sha256sum` prints it.
    pub checkpoint_checksum: String,
    /// Every tensor in the file, in the order in which they are stored.
    pub tensors: IndexMap<String, TensorInfo>,
}

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Element type (`f32`, `bf16`, ..).
    pub dtype: String,
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// BLAKE3 of the tensor's little-endian bytes in lower-case hexadecimal, as `b3sum` prints it.
    pub blake3: String,
}

impl Metadata {
    /// The metadata of a state of which nothing is known but when it was taken. What follows from the file
    /// itself (path, size, digests, tensors) is filled in when it is saved.
    #[must_use]
    pub fn blank(timestamp: Timestamp) -> Self {
        Self {
            run_id: String::new(),
            name: None,
            project: None,
            checkpoint_path: String::new(),
            checkpoint_timestamp: timestamp,
            start_timestamp: timestamp,
            epoch: 0,
            global_step: 0,
            training_time_seconds: 0.0,
            metrics: IndexMap::new(),
            trainer_config: Value::Null,
            hparams: Value::Null,
            environment: Value::Null,
            reason: String::new(),
            checkpoint_size_bytes: 0,
            checkpoint_checksum: String::new(),
            tensors: IndexMap::new(),
        }
    }

    /// Reads the metadata that belongs to a checkpoint or to a link.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] when the file is larger than [`MAX_METADATA_BYTES`] or not what it should be,
    /// [`Error::Io`] when it cannot be read or is missing.
    pub fn of_checkpoint(checkpoint: &Path) -> Result<Self> {
        Self::read(&metadata_path(checkpoint))
    }

    /// Reads a metadata file.
    ///
    /// # Errors
    ///
    /// As for [`Metadata::of_checkpoint`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open the metadata file", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let fail = |reason: String| Error::Metadata { path: path.to_path_buf(), reason };
        if size > MAX_METADATA_BYTES {
            return Err(fail(format!("it has {size} bytes, and {MAX_METADATA_BYTES} are allowed")));
        }
        let mut text = Vec::new();
        // The limit holds even for a file that grows while it is read.
        file.take(MAX_METADATA_BYTES).read_to_end(&mut text).map_err(Error::io("read", path))?;
        serde_json::from_slice(&text).map_err(|error| fail(error.to_string()))
    }

    /// The text of the metadata file: pretty-printed JSON, ending in a newline.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] when a part cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Snapshot(format!("the metadata is no JSON: {error}")))?;
        Ok(text + "\n")
    }
}

/// Compares a file's size with its metadata: the quick half of a verification.
pub(crate) fn check_size(path: &Path, metadata: &Metadata) -> Result<()> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size != metadata.checkpoint_size_bytes {
        let expected = format!("{} bytes", metadata.checkpoint_size_bytes);
        return Err(disagreement(path, expected, format!("{size} bytes")));
    }
    Ok(())
}

/// Serde for metrics: finite numbers as JSON numbers, the others as the strings `NaN`, `inf` and `-inf`.
pub mod numbers {
    use super::{Deserialize, IndexMap};
    use serde::{Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Other(String),
    }

    /// Writes the metrics.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(metrics: &IndexMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(metrics.iter().map(|(name, value)| {
            let number =
                if value.is_finite() { Number::Finite(*value) } else { Number::Other(value.to_string()) };
            (name, number)
        }))
    }

    /// Reads the metrics.
    ///
    /// # Errors
    ///
    /// A value that is neither a number nor one of the three strings.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, f64>, D::Error> {
        let numbers = IndexMap::<String, Number>::deserialize(from)?;
        numbers
            .into_iter()
            .map(|(name, number)| {
                let value = match &number {
                    Number::Finite(value) => *value,
                    Number::Other(text) => match text.as_str() {
                        "NaN" => f64::NAN,
                        "inf" => f64::INFINITY,
                        "-inf" => f64::NEG_INFINITY,
                        _ => {
                            let message = format!("the metric {name:?} is {text:?}, which is no number");
                            return Err(serde::de::Error::custom(message));
                        }
                    },
                };
                Ok((name, value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Metrics(#[serde(with = "numbers")] IndexMap<String, f64>);

    #[test]
    fn non_finite_metrics_are_strings_and_come_back() {
        let metrics = IndexMap::from([
            ("a".to_owned(), f64::NAN),
            ("b".to_owned(), f64::INFINITY),
            ("c".to_owned(), f64::NEG_INFINITY),
            ("d".to_owned(), 0.1),
        ]);
        let text = serde_json::to_string(&Metrics(metrics.clone())).unwrap();
        assert_eq!(text, r#"{"a":"NaN","b":"inf","c":"-inf","d":0.1}"#);
        let Metrics(back) = serde_json::from_str(&text).unwrap();
        assert!(back["a"].is_nan());
        assert_eq!(back.keys().collect::<Vec<_>>(), metrics.keys().collect::<Vec<_>>());
        assert_eq!((back["b"], back["c"], back["d"]), (f64::INFINITY, f64::NEG_INFINITY, 0.1));
        assert!(serde_json::from_str::<Metrics>(r#"{"a":"high"}"#).is_err());
    }
}
