//! Loading: from a checkpoint's path to its hyperparameters, its training state and its sections.
//!
//! Opening reads the header alone, whatever the file's size.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::container::{ContainerHeader, MODEL};
use crate::error::{Error, Result};
use crate::locate::locate;
use crate::metadata::Metadata;
use crate::section::Section;

/// A checkpoint that was opened: its header is known, its tensors are still on disk.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    header: ContainerHeader,
}

impl Checkpoint {
    /// Opens a checkpoint: a file, a link to one, or `best` or `last` in a run's directory, as [`locate`] finds it.
    ///
    /// # Errors
    ///
    /// Those of [`locate`]; [`Error::Io`] when the file cannot be read, [`Error::NotACheckpoint`] when it is something
    /// else or cut off, [`Error::NewerFormat`] when a newer version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = locate(path.as_ref())?;
        if path.is_symlink() {
            // A link may lead elsewhere by the time that a section is read.
            path = std::fs::canonicalize(&path).map_err(Error::io("follow the link", &path))?;
        }
        let header = ContainerHeader::read(&path)?;
        Ok(Self { path, header })
    }

    /// The file that was opened; where a link was given, the one it pointed to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's hyperparameters as their own type.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when they do not fit the type.
    pub fn hparams<H: DeserializeOwned>(&self) -> Result<H> {
        self.typed("hyperparameters", &self.header.hparams)
    }

    /// The training loop's state as its own type.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when it does not fit the type.
    pub fn trainer_state<S: DeserializeOwned>(&self) -> Result<S> {
        self.typed("trainer states", &self.header.trainer_state)
    }

    /// The names of the sections.
    #[must_use]
    pub fn sections(&self) -> &[String] {
        &self.header.sections
    }

    /// Whether there is a section of that name.
    #[must_use]
    pub fn has_section(&self, name: &str) -> bool {
        self.header.sections.iter().any(|section| section == name)
    }

    /// One section, its tensors still on disk.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSection`] when the checkpoint has none of that name.
    pub fn section(&self, name: &str) -> Result<Section> {
        ContainerHeader::read(&self.path)?.into_section(&self.path, name)
    }

    /// The metadata beside the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is none, [`Error::Metadata`] when it cannot be understood.
    pub fn metadata(&self) -> Result<Metadata> {
        Metadata::of_checkpoint(&self.path)
    }

    /// The model's section as burn's own record, for `module.try_load_record(..)`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSection`] or [`Error::Container`].
    pub fn model_record(&self) -> Result<ModuleRecord> {
        let bytes = self.section(MODEL)?.into_burnpack()?;
        ModuleRecord::from_bytes(bytes).map_err(|error| Error::Snapshot(error.to_string()))
    }

    /// Loads the model's section into a module that has the same parameters.
    ///
    /// ```no_run
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::Device;
    /// # use burn_ckpt::Checkpoint;
    /// # fn main() -> burn_ckpt::Result<()> {
    /// let checkpoint = Checkpoint::open("runs/a/checkpoint/best_val_loss.ckpt")?;
    /// let model: Linear = checkpoint.load_into(LinearConfig::new(4, 2).init(&Device::default()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] listing the tensors that are missing, unused or of another shape.
    pub fn load_into<M: Module>(&self, module: M) -> Result<M> {
        self.check_fits(&module)?;
        module.try_load_record(self.model_record()?).map_err(|error| self.mismatch(error.to_string()))
    }

    /// Compares the model's section with a module's parameters, by name and shape, without reading a tensor.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::load_into`].
    pub fn check_fits<M: Module>(&self, module: &M) -> Result<()> {
        let (stored, wanted) = (self.section(MODEL)?, Section::from_module(module));
        let stored: std::collections::BTreeMap<_, _> = stored.shapes().collect();
        let wanted: std::collections::BTreeMap<_, _> = wanted.shapes().collect();
        let mut reasons = Vec::new();
        for (name, shape) in &wanted {
            match stored.get(name) {
                None => reasons.push(format!("{name} {shape:?} is missing in the checkpoint")),
                Some(there) if there != shape => {
                    reasons.push(format!("{name} is {there:?} in the checkpoint and {shape:?} in the model"));
                }
                Some(_) => {}
            }
        }
        for name in stored.keys().filter(|name| !wanted.contains_key(*name)) {
            reasons.push(format!("{name} is in the checkpoint and not in the model"));
        }
        if reasons.is_empty() { Ok(()) } else { Err(self.mismatch(shortened(reasons))) }
    }

    fn mismatch(&self, reason: String) -> Error {
        Error::Mismatch { path: self.path.clone(), reason }
    }

    fn typed<T: DeserializeOwned>(&self, what: &'static str, value: &Value) -> Result<T> {
        T::deserialize(value).map_err(|source| Error::Json { path: self.path.clone(), what, source })
    }
}

/// A wrong model can disagree in every tensor; the first few say it all.
fn shortened(mut reasons: Vec<String>) -> String {
    const SHOWN: usize = 8;
    let more = reasons.len().saturating_sub(SHOWN);
    reasons.truncate(SHOWN);
    let mut text = reasons.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
