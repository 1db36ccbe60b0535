//! Resuming from a checkpoint whose trainer's state or history was changed.

use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType};
use burn::train::metric::LossMetric;
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::chain;
use burn_ckpt::{Checkpoint, Section};
use burn_trainer::Trainer;
use ciborium::Value;

use super::target::Target;
use crate::forged_checkpoint::Parts;
use crate::models::small::{BATCH, Script, learner, shuffling};
use crate::run_files::checkpoints;
use crate::{config, train};

const STATE: &str = "burn-ckpt.trainer_state";

/// A run of one epoch, and what a changed checkpoint of it is made of.
pub(super) struct Resuming {
    directory: PathBuf,
    whole: PathBuf,
    metadata: serde_json::Value,
}

fn run_of_an_epoch(directory: &Path) -> Result<PathBuf, String> {
    let root = directory.join("whole");
    train(config(&root, 1)).map_err(|error| chain(&error))?;
    Ok(checkpoints(&root).join("last.ckpt"))
}

/// The JSON of a trainer's state.
pub(super) fn whole_state(directory: &Path) -> Result<String, String> {
    let whole = run_of_an_epoch(directory)?;
    let state =
        Checkpoint::open(whole).and_then(|checkpoint| checkpoint.trainer_state::<serde_json::Value>());
    state.map(|state| state.to_string()).map_err(|error| chain(&error))
}

impl Resuming {
    pub(super) fn new(directory: &Path) -> Result<Self, String> {
        let whole = run_of_an_epoch(directory)?;
        let metadata = Checkpoint::open(&whole).and_then(|checkpoint| checkpoint.metadata());
        let metadata = metadata.map_err(|error| chain(&error))?;
        let metadata = serde_json::to_value(metadata).map_err(|error| error.to_string())?;
        Ok(Self { directory: directory.to_path_buf(), whole, metadata })
    }

    /// Resumes from the run's checkpoint with another state or history.
    pub(super) fn resume(&self, target: Target, bytes: &[u8]) -> Result<(), String> {
        let path = self.directory.join("changed.ckpt");
        match target {
            Target::History => self.write_with_history(&path, bytes)?,
            _ => {
                let mut parts = Parts::read(&self.whole);
                let state = String::from_utf8_lossy(bytes).into_owned();
                parts.map("metadata").retain(|(name, _)| name.as_text() != Some(STATE));
                parts.map("metadata").push((Value::Text(STATE.to_owned()), Value::Text(state)));
                parts.write(&path, self.metadata.clone());
            }
        }
        let root = self.directory.join("resumed");
        let resumed = resumed(&root, &path);
        // A start that fails leaves no directory.
        if let Err(error) = std::fs::remove_dir_all(&root)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("wrong: {}: {error}", root.display()));
        }
        resumed
    }

    fn write_with_history(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let checkpoint = Checkpoint::open(&self.whole).map_err(|error| chain(&error))?;
        let hparams = checkpoint.hparams::<serde_json::Value>().map_err(|error| chain(&error))?;
        let mut contents = burn_ckpt::Contents::new(&hparams).map_err(|error| chain(&error))?;
        contents.trainer_state = checkpoint.trainer_state().map_err(|error| chain(&error))?;
        for name in checkpoint.sections() {
            let section = match name.as_str() {
                "history" => {
                    let (length, bytes) = (bytes.len(), Bytes::from_bytes_vec(bytes.to_vec()));
                    let tensor = Tensor::new("metrics".to_owned(), DType::U8, [length], None, bytes);
                    Section::new().with_tensors(vec![tensor])
                }
                _ => checkpoint.section(name).map_err(|error| chain(&error))?,
            };
            contents = contents.with_section(name, section);
        }
        let metadata = checkpoint.metadata().map_err(|error| chain(&error))?;
        contents.save(path, metadata).map(drop).map_err(|error| chain(&error))
    }
}

fn resumed(root: &Path, from: &Path) -> Result<(), String> {
    let from = from.to_str().ok_or("the path is not a text")?;
    let config = config(root, 2).with_run_id("resumed").with_ckpt_path(from);
    let trainer = Trainer::new(config, &Script::default().hparams()).map_err(|error| chain(&error))?;
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    let fitted = trainer.fit(training, learner(Script::default())).map_err(|error| chain(&error))?;
    match fitted.global_step {
        0 => Err("wrong: it ended without a step".to_owned()),
        _ => Ok(()),
    }
}
