//! Evaluations that are kept beside their checkpoint, in `<name>.ckpt.evaluation.json`: `FORMAT.md` describes
//! the file.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::storage::{self, StoredFile};
use burn_ckpt::plumbing::{
    Existing, MAX_EVALUATION_BYTES as MAX_BYTES, MAX_JSON_VALUES, evaluation_path, is_there, parse_json,
    write_whole,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evaluator::evaluated;
use super::result::Evaluation;
use crate::error::{Error, Result};
use crate::process::console::warn;
use crate::process::progress::figures::count;

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct EvaluationFile {
    /// The checkpoint's path, relative to the file.
    checkpoint_path: String,
    checkpoint_checksum: String,
    /// The run of the checkpoint, which removes the file if it is left without its checkpoint.
    #[serde(default)]
    run_id: String,
    /// When that run was started, which tells it from another one of the same id. Not in files of an earlier
    /// version.
    #[serde(default)]
    start_timestamp: Option<Timestamp>,
    /// One for each name of data and each part, the newest of it.
    evaluations: Vec<Evaluation>,
}

impl Evaluation {
    /// Keeps it as JSON beside its checkpoint, in `<name>.ckpt.evaluation.json`, and returns the file's path.
    /// An earlier evaluation of the same weights (the model, or a part) on data of the same name is replaced,
    /// and others stay. The file is deleted with its checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the model is not from a checkpoint; [`Error::Checkpoint`] when the checkpoint
    /// was deleted meanwhile, or the file cannot be written, with [`burn_ckpt::Error::TooLarge`] where it
    /// would have more than 1 MiB.
    pub fn keep(&self) -> Result<PathBuf> {
        let Some(checkpoint) = &self.checkpoint else {
            let reason = "the model is not from a checkpoint: evaluate it with ModelEvaluator::of_checkpoint";
            return Err(Error::config("Evaluation::keep", reason));
        };
        let file = evaluation_path(&checkpoint.path);
        if !is_there(&checkpoint.path)? {
            return Err(burn_ckpt::Error::io("keep the evaluation of", &checkpoint.path)(
                storage::not_found(),
            )
            .into());
        }
        let mut evaluations = match read(&file)? {
            Some(Ok(kept)) if kept.checkpoint_checksum == checkpoint.checksum => kept.evaluations,
            None => Vec::new(),
            Some(other) => {
                let what = match other {
                    Ok(_) => "it is of another checkpoint".to_owned(),
                    Err(reason) => reason,
                };
                warn(&format!("{} is replaced: {what}", file.display()));
                Vec::new()
            }
        };
        evaluations.retain(|kept| (&kept.split, &kept.part) != (&self.split, &self.part));
        evaluations.push(self.clone());
        let name = checkpoint.path.file_name().unwrap_or_default().to_string_lossy();
        let kept = EvaluationFile {
            checkpoint_path: name.into_owned(),
            checkpoint_checksum: checkpoint.checksum.clone(),
            run_id: checkpoint.run_id.clone(),
            start_timestamp: Some(checkpoint.start_timestamp),
            evaluations,
        };
        let text = to_json(&kept, &file)?;
        write_whole(&file, Existing::Replace, |file| {
            let written = file.write_all(text.as_bytes());
            written.map_err(burn_ckpt::Error::io("write", file.path()))
        })?;
        Ok(file)
    }

    /// The evaluations that were kept of a checkpoint, the newest last. The list is empty if there are none.
    /// Those of another checkpoint that had the same name are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when the checkpoint cannot be opened, and with [`burn_ckpt::Error::Metadata`]
    /// for a file of evaluations that is damaged or has more than 1 MiB.
    pub fn kept(checkpoint: impl AsRef<Path>) -> Result<Vec<Self>> {
        let checkpoint = evaluated(&Checkpoint::open(checkpoint)?)?;
        let file = evaluation_path(&checkpoint.path);
        let kept = match read(&file)? {
            None => return Ok(Vec::new()),
            Some(kept) => kept.map_err(|reason| burn_ckpt::Error::Metadata {
                reason: format!("{reason}: delete it, and evaluate the checkpoint again"),
                path: file.clone(),
                source: None,
            })?,
        };
        if kept.checkpoint_checksum != checkpoint.checksum {
            return Ok(Vec::new());
        }
        let of_checkpoint = |evaluation: Self| Self { checkpoint: Some(checkpoint.clone()), ..evaluation };
        Ok(kept.evaluations.into_iter().map(of_checkpoint).collect())
    }
}

/// The text of the file at `path`.
fn to_json(kept: &EvaluationFile, path: &Path) -> burn_ckpt::Result<String> {
    let invalid = |source| {
        let reason = "the evaluations are not JSON".to_owned();
        burn_ckpt::Error::Metadata { path: path.to_path_buf(), reason, source: Some(source) }
    };
    let text = serde_json::to_string_pretty(kept).map_err(invalid)? + "\n";
    if text.len() as u64 > MAX_BYTES {
        let evaluations = count(kept.evaluations.len() as u64, "evaluation");
        return Err(burn_ckpt::Error::TooLarge {
            what: format!("{} with {evaluations}", path.display()),
            unit: "bytes",
            found: text.len() as u64,
            limit: MAX_BYTES,
            advice: "delete the file to keep later evaluations",
        });
    }
    Ok(text)
}

/// Reads a file of evaluations. `None` if there is none; the inner error says what is wrong with it.
fn read(path: &Path) -> Result<Option<std::result::Result<EvaluationFile, String>>> {
    if storage::stat(path).map_err(burn_ckpt::Error::io("read", path))?.is_none() {
        return Ok(None);
    }
    let mut file = match StoredFile::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(burn_ckpt::Error::io("open", path))?,
    };
    let mut text = Vec::new();
    { &mut file }.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(burn_ckpt::Error::io("read", path))?;
    if text.len() as u64 > MAX_BYTES {
        return Ok(Some(Err(format!("it has more than {MAX_BYTES} bytes"))));
    }
    let kept = parse_json(&text, MAX_JSON_VALUES);
    Ok(Some(kept.map_err(|error| format!("its JSON does not describe evaluations: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;

    fn kept(metrics: usize) -> EvaluationFile {
        let metrics: IndexMap<String, f64> =
            (0..metrics).map(|number| (format!("test_metric_{number:060}"), 0.5)).collect();
        let evaluation = Evaluation {
            split: "test".to_owned(),
            part: None,
            timestamp: Timestamp::UNIX_EPOCH,
            items: 33,
            limit_batches: None,
            seconds: 0.25,
            metrics,
            checkpoint: None,
        };
        let checksum = "sha256:00".to_owned();
        EvaluationFile {
            checkpoint_path: "a.ckpt".to_owned(),
            checkpoint_checksum: checksum,
            run_id: "r1".to_owned(),
            start_timestamp: Some(Timestamp::UNIX_EPOCH),
            evaluations: vec![evaluation],
        }
    }

    #[test]
    fn a_file_beyond_the_limit_is_neither_written_nor_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.ckpt.evaluation.json");
        assert!(to_json(&kept(10), &path).is_ok());
        let error = to_json(&kept(20_000), &path).unwrap_err();
        assert_eq!(error.kind(), burn_ckpt::ErrorKind::TooLarge);
        assert!(error.to_string().contains("a.ckpt.evaluation.json with 1 evaluation would have"), "{error}");

        std::fs::write(&path, serde_json::to_vec(&kept(20_000)).unwrap()).unwrap();
        let reason = read(&path).unwrap().unwrap().err().unwrap();
        assert!(reason.contains("more than 1048576 bytes"), "{reason}");
    }
}
